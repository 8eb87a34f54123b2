// What stands where results would: while they are on their way, if there are none, and if something went wrong.

import { h } from "./dom.js";

/** Return a note that something is on its way; `progress` is a share of one, or null. */
export function loadingNotice(text, progress = null) {
  return h("div", { class: "notice loading" },
    h("span", { class: "spinner", "aria-hidden": "true" }),
    h("div", {},
      h("p", {}, text),
      progress !== null && h("progress", { max: 1, value: progress, "aria-label": text })));
}

/** Return a note that the server is not ready, from what api.js says while it waits. */
export function waitingNotice({ message, progress }) {
  return loadingNotice(message, progress?.total ? progress.done / progress.total : null);
}

/**
 * Return a note that there is nothing, and why.
 *
 * @param {string} title What there is none of.
 * @param {Node|string} text What to do.
 * @param {Array<Node>} [actions] Buttons.
 */
export function emptyNotice(title, text, actions = []) {
  return h("div", { class: "notice empty" }, h("p", { class: "notice-title" }, title), h("p", {}, typeof text === "string" ? sentenceOf(text) : text), actions.length > 0 && h("div", { class: "row" }, actions));
}

/**
 * Return a note of what went wrong, with its mend.
 *
 * @param {Error} error Of api.js, or any other.
 * @param {function} [retry] Tries again.
 */
export function errorNotice(error, retry = null) {
  return h("div", { class: "notice error", role: "alert" },
    h("p", { class: "notice-title" }, error.status === 404 ? "Not found" : "That did not work"),
    h("p", {}, sentenceOf(error.message)),
    error.mend && h("p", { class: "mend" }, sentenceOf(error.mend)),
    retry && h("div", { class: "row" }, h("button", { type: "button", class: "button", on: { click: retry } }, "Try again")));
}

/** Return a message as a sentence: with a capital and a full stop; what stands in backquotes is code. */
export function sentenceOf(text) {
  const plain = String(text).trim();
  // Only a word is capitalised: units, symbols, names and ids stay as they are.
  const begun = plain.replace(/^[a-z]+(?:-[a-z]+)*(?=[\s.,:;!?]|$)/, (word) => word[0].toUpperCase() + word.slice(1));
  const whole = begun + (/[.!?:]$/.test(plain) ? "" : ".");
  return whole.split(/`([^`]+)`/).map((part, order) => (order % 2 ? h("code", {}, part) : part));
}
