// What a reader should know of one candidate's numbers: what is missing, what is doubtful, how they were made.

import { h } from "../dom.js";
import { count, DASH, formula, interval, number, unit } from "../format.js";
import { sentenceOf } from "../notices.js";

/** Return what is missing or doubtful, as {kind, property, text}. */
export function notesOf(row, book) {
  const missing = row.missing.map((name) => ({ kind: "missing", property: name,
    text: `${titleOf(name, book)}: no value, ${row.values?.[name]?.reason ?? "for a reason not given"}` }));
  return [...missing, ...row.doubts.map((doubt) => ({ kind: "doubt", property: doubt.property, text: doubt.text }))];
}

/** Return the row of the table that opens below a candidate. */
export function notesRow(row, columns, book) {
  const notes = notesOf(row, book);
  const known = book.properties.filter((property) => row.values?.[property.name]);
  return h("tr", { class: "open-notes" }, h("td", { colspan: columns },
    h("div", { class: "notes-body" },
      h("div", { class: "stack" },
        notes.length ? h("ul", { class: "note-list" }, notes.map((note) => h("li", { class: note.kind }, sentenceOf(note.text))))
          : h("p", { class: "muted" }, "Nothing is missing or doubtful in what counts here."),
        h("p", { class: "small muted" }, formula(row.formula), " · ", h("code", {}, row.candidate_id),
          row.pareto_layer ? ` · Pareto layer ${row.pareto_layer}` : "")),
      h("table", { class: "plain small" },
        h("caption", { class: "visually-hidden" }, `All numbers of ${row.label}`),
        h("thead", {}, h("tr", {}, ["Property", "Value", "90 % interval", "Samples", "Method"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, known.map((property) => numberRow(property, row.values[property.name])))))));
}

function numberRow(property, quantity) {
  const units = unit(quantity.unit ?? property.unit);
  const missing = quantity.value === null;
  return h("tr", {}, h("th", { scope: "row" }, property.title),
    h("td", { class: "number" }, missing ? DASH : `${number(quantity.value, property.digits)} ${units}`),
    h("td", { class: "number" }, missing ? DASH : interval(quantity.low, quantity.high, property.digits)),
    h("td", { class: "number" }, missing ? DASH : count(quantity.n ?? 0)),
    h("td", {}, missing ? quantity.reason : quantity.method, quantity.corrected ? h("span", { class: "chip" }, "corrected") : null));
}

function titleOf(name, book) {
  return book.properties.find((property) => property.name === name)?.title ?? name.replaceAll("_", " ");
}
