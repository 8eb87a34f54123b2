// Pieces that the pages of candidates, comparisons, campaigns and changes are made of.

import { h, newId } from "./dom.js";
import { formula } from "./format.js";

/**
 * Return a table.
 *
 * @param {string} caption What it holds, for screen readers.
 * @param {Array<{title: Node|string, text: boolean, wide: boolean}>} columns Columns of text stand left, numbers right.
 * @param {Array<Array>} rows Cells: nodes or text; the first cell heads its row.
 */
export function table(caption, columns, rows) {
  const kind = (column) => [column.text && "text", column.wide && "wide"].filter(Boolean);
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      { class: "plain numbers" },
      h("caption", { class: "visually-hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((cell, k) =>
              h(k === 0 ? "th" : "td", { scope: k === 0 ? "row" : null, class: kind(columns[k]) }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Return terms with their values, as a list of descriptions; what is null is left out. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "terms" },
    pairs
      .filter((pair) => pair !== null)
      .map(([term, value, note]) =>
        h("div", {}, h("dt", {}, term), h("dd", {}, value, note && h("span", { class: "fact-note" }, note))),
      ),
  );
}

/** Return a section of a page with its heading; what is null is left out. */
export function section(id, title, ...children) {
  return h(
    "section",
    { id, class: "card stack", "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title),
    children,
  );
}

/** Return a part that can be opened. */
export function opened(title, ...children) {
  return h("details", { id: newId("part") }, h("summary", {}, title), h("div", { class: "details-body" }, children));
}

/** Return phases with their share of the atoms, the largest first, as nodes. */
export function products(phases, percent) {
  const ordered = [...phases].sort((p, q) => q.amount - p.amount);
  if (!ordered.length) return ["–"];
  return ordered.flatMap((phase, order) => [
    order > 0 && ", ",
    h("span", { class: "phase" }, formula(phase.formula), ` ${percent(phase.amount)}`),
  ]);
}
