// What a permalink holds: the state of a page in its query string, what is as at first left out.

import { throttled } from "./dom.js";

/** The address follows a slider no more often than this, in ms: browsers refuse more than some 200 changes in ten seconds. */
const WRITE_EVERY = 200;

/**
 * A page's state: names to values, kept in the address.
 *
 * @example
 *   const state = new State({ definition: "", first: 0, ids: [], weights: {}, descending: false });
 *   state.get("ids"); state.set({ first: 100 }); state.set({ definition: "x" }, { push: true });
 *   state.onBack(() => show());
 *
 * The kind of each value is that of the first one: text, number, truth, list of text or mapping of text to number;
 * null stands for a number that may be missing. What an address states wrongly is as at first.
 */
export class State {
  #first;
  #now;
  #search = location.search;
  #waiting = false;
  #actions = [];
  #replaceSoon = throttled(() => this.#flush(), WRITE_EVERY);

  constructor(first) {
    this.#first = first;
    this.#now = this.#read();
    addEventListener("pagehide", () => this.#flush());
    addEventListener("popstate", () => this.#follow());
  }

  /** Return the value of a name. */
  get(name) {
    return this.#now[name];
  }

  /** Return a copy of all values. */
  all() {
    return structuredClone(this.#now);
  }

  /**
   * Change values and the address.
   *
   * @param {object} changes Name to value.
   * @param {object} [how] `push` makes a step that the browser's Back undoes; else the address is replaced, soon.
   */
  set(changes, { push = false } = {}) {
    if (push) this.#flush(); // what has changed so far belongs to the step before
    Object.assign(this.#now, changes);
    if (push) {
      this.#write("pushState", this.address());
    } else {
      this.#waiting = true;
      this.#replaceSoon();
    }
  }

  /** Return all values to those at first, but some. */
  reset(kept = []) {
    const changes = structuredClone(this.#first);
    for (const name of kept) changes[name] = this.#now[name];
    this.set(changes, { push: true });
  }

  /** Return the address of the page in this state, with changes, without host. */
  address(changes = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...this.#now, ...changes })) {
      const text = write(value);
      if (text !== write(this.#first[name])) query.set(name, text);
    }
    return location.pathname + (query.size ? `?${query}` : "");
  }

  /** Call a function whenever the visitor goes back or forth to another state; links within the page are none. */
  onBack(action) {
    this.#actions.push(action);
  }

  #follow() {
    if (location.search === this.#search) return;
    this.#waiting = false;
    this.#search = location.search;
    this.#now = this.#read();
    for (const action of this.#actions) action();
  }

  #flush() {
    if (this.#waiting) this.#write("replaceState", this.address() + location.hash);
  }

  #write(how, address) {
    this.#waiting = false;
    if (address !== location.pathname + location.search + location.hash) history[how](null, "", address);
    this.#search = location.search;
  }

  #read() {
    const query = new URLSearchParams(location.search);
    const found = structuredClone(this.#first);
    for (const [name, first] of Object.entries(this.#first)) {
      const text = query.get(name);
      if (text === null) continue;
      const value = parse(text, first);
      if (value !== undefined) found[name] = value;
    }
    return found;
  }
}

function write(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.join(",");
  if (typeof value === "object") return Object.entries(value).map(([name, x]) => `${name}:${x}`).join(",");
  return String(value);
}

function parse(text, first) {
  if (Array.isArray(first)) return [...new Set(text.split(",").filter(Boolean))];
  if (first !== null && typeof first === "object") return parseMapping(text);
  if (typeof first === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  if (typeof first === "number" || first === null) return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
  return text;
}

function parseMapping(text) {
  const found = {};
  for (const part of text.split(",").filter(Boolean)) {
    const [name, value] = part.split(":");
    if (/^\w+$/.test(name) && value !== undefined && value.trim() !== "" && Number.isFinite(Number(value))) found[name] = Number(value);
  }
  return found;
}
