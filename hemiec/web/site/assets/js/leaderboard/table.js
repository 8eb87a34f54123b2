// The ranked list as a table: one page of it, its columns, its notes per row, and the pager.

import { h, replace } from "../dom.js";
import { count, counted, DASH, formula, interval, number, percent, unit } from "../format.js";
import { emptyNotice, errorNotice, loadingNotice, sentenceOf } from "../notices.js";
import { NO_BRUSH } from "./brush.js";
import { notesRow, notesOf } from "./notes.js";

const SIZES = [25, 50, 100, 200];
/** An answer that takes longer than this dims the rows before, in ms. */
const LATE = 300;

/** The table of one page and its pager. */
export class RankingTable {
  #open = new Set();
  #shown = null;
  #book = null;
  #drawn = null;
  #look = "";
  #late = 0;

  constructor(place, pager, { state, change, compare }) {
    Object.assign(this, { place, pager, state, change, compare });
    document.addEventListener("comparedchange", () => this.#showCompared());
  }

  /** Say that something is on its way; the rows before stay, and are dimmed if it is late. */
  busy(on) {
    this.place.setAttribute("aria-busy", String(on));
    clearTimeout(this.#late);
    this.place.classList.remove("late");
    if (on) this.#late = setTimeout(() => this.place.classList.add("late"), LATE);
  }

  showLoading(text, progress = null) {
    this.#shown = null;
    replace(this.place, loadingNotice(text, progress));
    replace(this.pager);
  }

  showError(error, retry) {
    this.#shown = null;
    this.busy(false);
    replace(this.place, errorNotice(error, retry));
    replace(this.pager);
  }

  /** Show an answer of /ranking. */
  show(shown, book) {
    const same = this.#shown && this.#book === book && JSON.stringify(this.#shown.rows) === JSON.stringify(shown.rows) &&
      this.#shown.definition.name === shown.definition.name && this.#look === this.#lookNow();
    this.#shown = shown;
    this.#book = book;
    this.#drawn = null;
    this.busy(false);
    // Drawing it anew would take rows away under a hand that is about to press something.
    if (same && shown.rows.length > 0) this.#showPager();
    else if (shown.rows.length === 0) this.#showEmpty();
    else this.#draw();
  }

  /** Fill in an answer of /ranking/uncertainty. */
  showUncertainty(drawn) {
    this.#drawn = drawn;
    const found = new Map(drawn.rows.map((row) => [row.candidate_id, row]));
    this.place.querySelectorAll("tr[data-id]").forEach((line) => fillUncertain(line, found.get(line.dataset.id)));
    replace(this.place.querySelector(".draws"), `Intervals hold 90 % of ${count(drawn.draws)} draws of every value from its own interval; ` +
      `top means the first ${drawn.top}.`, drawn.note && [" ", sentenceOf(drawn.note)]);
  }

  showUncertaintyError(error) {
    this.place.querySelectorAll(".uncertain").forEach((cell) => replace(cell, DASH));
    replace(this.place.querySelector(".draws"), "No uncertainty: ", sentenceOf(error.message));
  }

  fromState() {
    if (this.#shown?.rows.length) this.#draw();
  }

  #showEmpty() {
    const nothing = this.#shown.table.n_candidates === 0;
    const all = () => this.change({ where: "", campaign: "", elements: [], without: [], ...NO_BRUSH }, { push: true });
    replace(this.place, nothing
      ? emptyNotice("No candidates yet", "The database has none. `hemiec demo-data` loads examples; `hemiec run` computes some.")
      : emptyNotice("No candidate fits the filter", "Take away a filter above, or all of them.",
        [h("button", { type: "button", class: "button", on: { click: all } }, "Clear all filters")]));
    replace(this.pager);
  }

  #draw() {
    const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    const scroll = this.place.querySelector(".scroll");
    const [left, top] = scroll ? [scroll.scrollLeft, scroll.scrollTop] : [0, 0];
    const columns = this.#columns();
    this.#look = this.#lookNow();
    const table = h("table", { class: "ranking" },
      h("caption", { class: "visually-hidden" }, "The ranked candidates. Column headings with a button sort."),
      h("thead", {}, h("tr", {}, columns.map((column) => this.#heading(column)))),
      h("tbody", {}, this.#shown.rows.map((row) => this.#row(row, columns))));
    const frame = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranking", data: { key: "frame" } }, table);
    replace(this.place, frame, h("p", { class: "draws small muted" }, "Drawing the uncertainty…"));
    if (left || top) frame.scrollTo(left, top); // it lays the page out at once
    if (this.#drawn) this.showUncertainty(this.#drawn);
    this.#showPager();
    if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** Return what headings depend on, beside the answer. */
  #lookNow() {
    return JSON.stringify(["columns", "sort", "descending", "limit"].map((name) => this.state.get(name)));
  }

  #columns() {
    const chosen = this.state.get("columns");
    const document = this.#book.documents.find((one) => one.name === this.#shown.definition.name);
    const wanted = chosen.length ? chosen : (document ?? this.#shown.definition).criteria.map((criterion) => criterion.property);
    const known = new Map(this.#book.properties.map((property) => [property.name, property]));
    const properties = wanted.map((name) => known.get(name) ?? fallback(name, this.#shown))
      .filter(Boolean).map((property) => ({ ...property, kind: "value", sort: property.name }));
    const { top } = this.#shown.definition;
    return [
      { kind: "compare", title: "Compare" },
      { kind: "rank", heading: "Rank", title: "Rank, 1 is best", sort: "rank" },
      { kind: "label", heading: "Candidate", title: "Candidate", sort: "label" },
      { kind: "score", heading: "Score", title: "Weighted mean of the scaled criteria, 0 to 1" },
      { kind: "interval", heading: "90 % ranks", title: "90 % interval of the rank" },
      { kind: "top", heading: `P(top\u00a0${top})`, title: "Probability of being in the top" },
      { kind: "pareto", heading: "P(Pareto)", title: "Probability that no other candidate is as good in every criterion and better in one" },
      ...properties,
      { kind: "notes", heading: "Notes", title: "What is missing or doubtful" },
    ];
  }

  #heading(column) {
    if (column.kind === "compare") return h("th", { scope: "col", class: "compare" }, h("span", { class: "visually-hidden" }, "Compare"));
    const units = column.kind === "value" && unit(column.unit) ? h("span", { class: "unit" }, ` ${unit(column.unit)}`) : null;
    if (!column.sort) return h("th", { scope: "col", class: column.kind, title: column.title }, column.heading, units);
    const sorted = this.state.get("sort") === column.sort;
    const descending = this.state.get("descending");
    const sort = () => this.change({ sort: column.sort, descending: sorted ? !descending : false, first: 0 }, { page: true, push: true });
    return h("th", { scope: "col", class: column.kind, "aria-sort": sorted ? (descending ? "descending" : "ascending") : "none" },
      h("button", { type: "button", class: "sort", title: column.title, data: { key: `sort-${column.sort}` }, on: { click: sort } },
        h("span", {}, column.heading, units), h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (descending ? "↓" : "↑") : "↕")));
  }

  #row(row, columns) {
    const open = this.#open.has(row.candidate_id);
    const cells = columns.map((column) => this.#cell(row, column));
    const line = h("tr", { data: { id: row.candidate_id }, class: [row.rank === null && "unranked", this.#isCompared(row) && "chosen"] }, cells);
    return open ? [line, notesRow(row, columns.length, this.#book)] : line;
  }

  #cell(row, column) {
    switch (column.kind) {
      case "compare": return h("td", { class: "compare" }, this.#checkbox(row));
      case "rank": return h("td", { class: "rank" }, row.rank === null ? h("span", { title: "not ranked" }, DASH, said("not ranked")) : count(row.rank));
      case "label": return h("th", { scope: "row", class: "label" },
        h("a", { href: `candidate?id=${encodeURIComponent(row.candidate_id)}&definition=${encodeURIComponent(this.#shown.definition.name)}`,
          title: row.formula, data: { key: `link-${row.candidate_id}` } }, formula(row.label)));
      case "score": return scoreCell(row);
      case "interval": case "top": case "pareto":
        return h("td", { class: ["uncertain", column.kind], data: { kind: column.kind } },
          row.rank === null ? [DASH, said("not ranked")] : h("span", { class: "skeleton" }, "00–00"));
      case "notes": return h("td", { class: "notes" }, this.#notesButton(row));
      default: return valueCell(row.values?.[column.name], column);
    }
  }

  #checkbox(row) {
    return h("input", { type: "checkbox", "aria-label": `Compare ${row.label}`, checked: this.#isCompared(row), data: { key: `compare-${row.candidate_id}` },
      on: { change: (event) => {
        if (!this.compare(row.candidate_id, event.target.checked)) event.target.checked = false;
      } } });
  }

  #notesButton(row) {
    const notes = notesOf(row, this.#book);
    const open = this.#open.has(row.candidate_id);
    const serious = notes.length > 0;
    return h("button", { type: "button", class: ["button", "quiet", "note", serious && "has-notes"], "aria-expanded": String(open),
      "aria-label": `${serious ? counted(notes.length, "note") : "Details"} on ${row.label}`, data: { key: `notes-${row.candidate_id}` },
      on: { click: () => {
        if (open) this.#open.delete(row.candidate_id);
        else this.#open.add(row.candidate_id);
        this.#draw();
      } } }, serious ? counted(notes.length, "note") : "details", h("span", { "aria-hidden": "true" }, open ? " ▴" : " ▾"));
  }

  #isCompared(row) {
    return this.state.get("ids").includes(row.candidate_id);
  }

  #showCompared() {
    this.place.querySelectorAll("tr[data-id]").forEach((line) => {
      const chosen = this.state.get("ids").includes(line.dataset.id);
      line.classList.toggle("chosen", chosen);
      line.querySelector("input[type=checkbox]").checked = chosen;
    });
  }

  #showPager() {
    const { n_found: found, first, rows } = this.#shown;
    const limit = this.state.get("limit");
    const last = Math.floor((found - 1) / limit) * limit;
    const button = (text, label, to, off) => h("button", { type: "button", class: "button", "aria-label": label, disabled: off, data: { key: `page-${label}` },
      on: { click: () => this.#turn(to) } }, text);
    const sizes = h("select", { id: "page-size", on: { change: (event) => this.change({ limit: Number(event.target.value), first: 0 }, { page: true }) } },
      [...new Set([...SIZES, limit])].sort((a, b) => a - b).map((size) => h("option", { value: size, selected: size === limit }, size)));
    replace(this.pager, h("nav", { class: "pager row spread", "aria-label": "Pages of the ranking" },
      h("div", { class: "row" },
        button("« First", "First page", 0, first === 0),
        button("‹ Previous", "Previous page", Math.max(0, first - limit), first === 0),
        h("span", { class: "where" }, `${count(first + 1)}–${count(first + rows.length)} of ${count(found)}`),
        button("Next ›", "Next page", first + limit, first + rows.length >= found),
        button("Last »", "Last page", last, first + rows.length >= found)),
      h("div", { class: "row" }, h("label", { for: "page-size" }, "Rows per page"), sizes)));
  }

  #turn(first) {
    this.change({ first }, { page: true, push: true });
    this.place.querySelector(".scroll")?.scrollTo(0, 0);
  }
}

function fillUncertain(line, found) {
  line.querySelectorAll(".uncertain").forEach((cell) => {
    replace(cell, found ? uncertainText(cell.dataset.kind, found) : DASH);
    if (found && cell.dataset.kind === "interval") cell.title = `expected rank ${number(found.expected_rank, 1)}`;
  });
}

function uncertainText(kind, { rank_interval: [best, worst], probability_top: top, probability_pareto: pareto }) {
  if (kind === "top") return percent(top);
  if (kind === "pareto") return percent(pareto);
  const ends = [best, worst].map((rank) => count(Math.round(rank)));
  return ends[0] === ends[1] ? ends[0] : ends.join("–");
}

function scoreCell(row) {
  if (row.score === null) return h("td", { class: "score" }, DASH, said("no score"));
  return h("td", { class: "score" }, number(row.score, 3),
    h("span", { class: "bar", "aria-hidden": "true" }, h("span", { style: { width: `${100 * row.score}%` } })));
}

function valueCell(quantity, column) {
  if (!quantity || quantity.value === null) {
    const reason = quantity?.reason ?? "no value";
    return h("td", { class: "value missing", title: reason }, h("span", { "aria-hidden": "true" }, DASH), said(`no value: ${reason}`),
      h("span", { class: "reason", "aria-hidden": "true" }, reason));
  }
  const { value, low, high } = quantity;
  const range = low === null || low === undefined ? null : h("span", { class: "range" }, interval(low, high, column.digits));
  return h("td", { class: "value", title: quantity.method ?? "" }, number(value, column.digits), range);
}

function fallback(name, shown) {
  const found = shown.rows.find((row) => row.values?.[name])?.values[name];
  return found ? { name, title: name, heading: name.replaceAll("_", " "), unit: found.unit, digits: 2 } : null;
}

function said(text) {
  return h("span", { class: "visually-hidden" }, ` ${text}`);
}
