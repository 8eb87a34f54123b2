// The token that a server may ask for: kept for this tab only, asked for in a dialog.

import { h } from "./dom.js";

const KEY = "hemiec-token";
let kept = read();
let asking = null;

/** Return the token of this tab, or null. */
export function knownToken() {
  return kept;
}

/** Forget a token that the server refused, unless another one has been given since. */
export function forgetToken(refused = kept) {
  if (kept !== refused) return;
  kept = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Storage may be forbidden; the token was kept in this page only.
  }
}

/**
 * Ask for the token; several questions that wait for it share one dialog.
 *
 * @returns {Promise<void>} Fulfilled once there is one; rejected with AbortError if the dialog is closed without.
 */
export function askForToken({ wrong, signal }) {
  asking ??= openDialog(wrong).finally(() => {
    asking = null;
  });
  if (!signal) return asking;
  return Promise.race([
    asking,
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")), { once: true });
    }),
  ]);
}

function openDialog(wrong) {
  return new Promise((resolve, reject) => {
    // Nothing else can be sent in a header.
    const field = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
      pattern: "\\s*[\\x21-\\x7e]+\\s*", title: "letters, digits and signs of ASCII, without spaces" });
    const form = h("form", { method: "dialog", class: "dialog-form" },
      h("h2", { id: "token-title" }, "This server needs a token"),
      h("p", {}, "Whoever runs the server has it. It stays in this tab until you close it."),
      wrong && h("p", { class: "field-error", role: "alert" }, "The server refused the last one."),
      h("label", { for: "token" }, "Token"),
      field,
      h("div", { class: "row end" },
        h("button", { type: "button", class: "button", on: { click: () => dialog.close("cancel") } }, "Cancel"),
        h("button", { type: "submit", class: "button primary" }, "Use it")));
    const dialog = h("dialog", { "aria-labelledby": "token-title" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      keep(field.value.trim());
      dialog.close("ok");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "ok") resolve();
      else reject(new DOMException("no token was given", "AbortError"));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function keep(token) {
  kept = token;
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

function read() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
