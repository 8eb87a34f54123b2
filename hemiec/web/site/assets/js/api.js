// Questions to the server: one form of error, the token, waiting while the table is read, and giving up.

import { askForToken, forgetToken, knownToken } from "./token.js";

const ROOT = new URL("api/v1/", document.baseURI);
/** How often a question is repeated while the server says that it is not ready, and how long at most (s). */
const LONGEST_WAIT_S = 600;
const LONGEST_PAUSE_S = 5;

/** An answer that is no result: what went wrong and what to do about it. */
export class ApiError extends Error {
  /**
   * @param {number} status Of HTTP; 0 if no answer came.
   * @param {string} message What went wrong.
   * @param {string|null} mend What to do about it.
   * @param {object} [about] The whole body of the answer.
   */
  constructor(status, message, mend, about = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.mend = mend;
    this.about = about;
  }
}

/** Return whether a question was given up by its asker, which is no error. */
export function isAborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Return the address of a question, with parameters that are not null, undefined or empty. */
export function apiAddress(path, parameters = {}) {
  const address = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") address.searchParams.set(name, String(value));
  }
  return address;
}

/**
 * Return the JSON that the server answers.
 *
 * @param {string} path Below /api/v1, such as "ranking".
 * @param {object} [parameters] Of its query.
 * @param {object} [options] `signal` gives up; `onWait` is called with {message, progress: {done, total}, seconds} while
 *   the server is not ready, and the question is repeated.
 * @throws {ApiError} If the server refuses, fails or cannot be reached.
 */
export async function get(path, parameters = {}, { signal, onWait } = {}) {
  const answer = await ask(apiAddress(path, parameters), { signal, onWait });
  return read(answer.json(), signal);
}

/** Return all documents of a list that comes in pages. */
export async function getAll(path, { limit = 100, signal } = {}) {
  const found = [];
  let after = null;
  do {
    const page = await get(path, { limit, after }, { signal });
    found.push(...page.documents);
    after = page.next === null ? null : new URL(page.next, document.baseURI).searchParams.get("after");
  } while (after !== null);
  return found;
}

/** Return the body of an answer as a Blob and the name that the server gives it; options as of get. */
export async function getFile(path, parameters = {}, { signal, onWait } = {}) {
  const answer = await ask(apiAddress(path, parameters), { signal, onWait });
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  return { blob: await read(answer.blob(), signal), name: named ? named[1] : path.split("/").pop() };
}

/** Store an answer as a file of the visitor's; a plain link could not send the token. */
export async function download(path, parameters = {}, { signal, onWait } = {}) {
  const { blob, name } = await getFile(path, parameters, { signal, onWait });
  saveBlob(blob, name);
  return name;
}

/** Store a Blob as a file of the visitor's. */
export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // Some browsers read it only after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Ask for the newest only: each call gives up the one before. */
export class Latest {
  #controller = null;

  /** Return a signal for a new question; the one before is given up. */
  next() {
    this.#controller?.abort();
    this.#controller = new AbortController();
    return this.#controller.signal;
  }

  /** Give up what is under way. */
  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }
}

async function ask(address, { signal, onWait }) {
  const started = performance.now();
  for (;;) {
    const token = knownToken();
    const answer = await send(address, token, signal);
    if (answer.ok) return answer;
    const error = await errorOf(answer);
    if (answer.status === 401) {
      if (token !== null) forgetToken(token);
      try {
        await askForToken({ wrong: token !== null, signal });
      } catch {
        if (signal?.aborted) throw new DOMException("given up", "AbortError");
        throw new ApiError(401, error.message, "Try again, and give the token that whoever runs the server has.");
      }
      continue;
    }
    const seconds = Number(answer.headers.get("Retry-After"));
    const waited = (performance.now() - started) / 1000;
    const mayWait = answer.status === 429 || (answer.status === 503 && onWait && "progress" in error.about);
    if (!mayWait || !(seconds >= 0) || waited > LONGEST_WAIT_S) throw error;
    onWait?.({ message: error.message, progress: error.about.progress ?? null, seconds });
    await pause(Math.min(Math.max(seconds, 0.5), LONGEST_PAUSE_S), signal);
  }
}

async function send(address, token, signal) {
  const headers = { Accept: "application/json", ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  try {
    return await fetch(address, { headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (isAborted(error) || signal?.aborted) throw new DOMException("given up", "AbortError");
    throw new ApiError(0, "The server cannot be reached.", "See that `hemiec serve` is running, then try again.");
  }
}

/** Return the body of an answer, of which only the head is known to have come. */
async function read(reading, signal) {
  try {
    return await reading;
  } catch (error) {
    if (isAborted(error) || signal?.aborted) throw new DOMException("given up", "AbortError");
    throw new ApiError(0, "The answer of the server broke off.", "See that `hemiec serve` is running, then try again.");
  }
}

async function errorOf(answer) {
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // A proxy may answer with a page of its own.
  }
  const message = body?.error?.message ?? `The server answered ${answer.status}.`;
  return new ApiError(answer.status, message, body?.error?.mend ?? null, { ...body?.error, ...body });
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
