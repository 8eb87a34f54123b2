// What can be done with the list: compare, link, files, and which columns it shows.

import { download, isAborted } from "../api.js";
import { h, replace } from "../dom.js";
import { announce } from "../layout.js";
import { sentenceOf } from "../notices.js";

const FORMATS = { csv: "CSV, for spreadsheets", json: "JSON, with everything", parquet: "Parquet, for pandas", latex: "LaTeX table, for a paper" };

/** Show the tools. */
export function showTools(place, { state, change, book, question, compare }) {
  const note = h("p", { class: "small tool-note", role: "status" });
  replace(place, compareLink(state, compare), linkButton(state, note), menu("Download", "download-menu", downloads(question, note)),
    menu("Columns", "columns-menu", columns(state, change, book)), note);
}

function compareLink(state, compare) {
  const link = h("a", { class: "button primary", id: "compare-link" });
  const none = h("button", { type: "button", class: "button quiet", id: "compare-none", on: { click: () => {
    for (const id of state.get("ids")) compare(id, false);
  } } }, "Unmark all");
  const show = () => {
    const ids = state.get("ids");
    const enough = ids.length > 1;
    link.textContent = ids.length ? `Compare ${ids.length}` : "Compare";
    link.title = enough ? "Side by side" : "Mark two candidates or more in the table";
    link.setAttribute("aria-disabled", String(!enough));
    if (enough) link.href = `compare?ids=${ids.map(encodeURIComponent).join(",")}${state.get("definition") ? `&definition=${encodeURIComponent(state.get("definition"))}` : ""}`;
    else link.removeAttribute("href");
    link.setAttribute("role", "link");
    none.hidden = ids.length === 0;
  };
  document.addEventListener("comparedchange", show);
  show();
  return h("span", { class: "row" }, link, none);
}

function linkButton(state, note) {
  return h("button", { type: "button", class: "button", id: "copy-link", on: { click: async () => {
    const address = new URL(state.address(), location.href).href;
    try {
      await navigator.clipboard.writeText(address);
      note.textContent = "The link is copied. It restores rules, weights, filters, order and page.";
    } catch {
      note.textContent = `Copy the address of this page: ${address}`;
    }
  } } }, "Copy link");
}

function downloads(question, note) {
  const save = async (format) => {
    note.textContent = "Making the file…";
    try {
      note.textContent = `Saved ${await download("ranking/export", { ...question(), format })}.`;
    } catch (error) {
      if (!isAborted(error)) replace(note, sentenceOf(error.message), error.mend && [" ", sentenceOf(error.mend)]);
    }
    announce(note.textContent);
  };
  return h("ul", {}, Object.entries(FORMATS).map(([format, title]) => h("li", {},
    h("button", { type: "button", class: "button quiet", data: { format }, on: { click: () => save(format) } }, title))));
}

function columns(state, change, book) {
  const boxes = book.properties.map((property) => [property.name, h("input", { type: "checkbox", value: property.name, on: { change: () => {
    change({ columns: boxes.filter(([, box]) => box.checked).map(([name]) => name) }, { page: true });
  } } }), property.title]);
  const fill = () => {
    const definition = book.documents.find((document) => document.name === state.get("definition")) ?? book.documents[0];
    const shown = state.get("columns").length ? state.get("columns") : definition?.criteria.map((criterion) => criterion.property) ?? [];
    for (const [name, box] of boxes) box.checked = shown.includes(name);
  };
  return h("fieldset", { on: { opened: fill } }, h("legend", {}, "Properties shown"),
    boxes.map(([, box, title]) => h("label", { class: "check" }, box, title)));
}

/** Return a button that opens a panel; Escape and a click elsewhere close it. */
function menu(title, id, content) {
  const panel = h("div", { class: "menu-panel", id, hidden: true }, content);
  const button = h("button", { type: "button", class: "button", "aria-expanded": "false", "aria-controls": id }, title, h("span", { "aria-hidden": "true" }, "▾"));
  const root = h("div", { class: "menu" }, button, panel);
  const open = (on) => {
    if (on) content.dispatchEvent(new CustomEvent("opened"));
    panel.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
  };
  button.addEventListener("click", () => open(panel.hidden));
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    open(false);
    button.focus();
  });
  document.addEventListener("click", (event) => {
    if (!root.contains(event.target)) open(false);
  });
  return root;
}
