// The page that sets two to six candidates side by side.

import { get, isAborted, Latest } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { counted, formula } from "./format.js";
import { announce, showLayout } from "./layout.js";
import { emptyNotice, errorNotice, loadingNotice, waitingNotice } from "./notices.js";
import { State } from "./state.js";
import { finder } from "./compare/finder.js";
import { intervalPanels } from "./compare/intervals.js";
import { groupsOf } from "./compare/rows.js";

const MOST = 6;
const state = new State({ ids: [], definition: "", only: false });
const latest = new Latest();
const main = byId("content");
const place = h("div", { class: "stack" });
const controls = h("div", { class: "stack" });
const adding = h("div", {});
/** Candidates that have been read, by id, and their cards by definition and id. */
const known = new Map();
const cards = new Map();
const idsOf = () => state.get("ids").slice(0, MOST);
const add = (id) => change({ ids: [...new Set([...idsOf(), id])] });
const remove = (id) => change({ ids: idsOf().filter((other) => other !== id) });
const search = finder(add, (id) => idsOf().includes(id));
const full = h("p", { class: "note" }, `${MOST} are the most that fit side by side: take one out to add another.`);
let definitions = null;

showLayout("compare");
replace(
  main,
  h(
    "div",
    { class: "page-head" },
    h(
      "div",
      {},
      h("h1", {}, "Compare"),
      h("p", { class: "muted" }, `Two to ${MOST} candidates side by side; the address of this page keeps the choice.`),
    ),
  ),
  h("div", { class: "stack" }, controls, adding),
  place,
);
state.onBack(show);
show();

async function show() {
  const ids = idsOf(),
    signal = latest.next(),
    wait = (waiting) => replace(place, waitingNotice(waiting));
  showControls();
  if (!ids.length) {
    replace(
      place,
      emptyNotice("Nothing to compare yet", "Find candidates above, or mark them in the leaderboard.", [
        h("a", { class: "button primary", href: "./" }, "To the leaderboard"),
      ]),
    );
    return;
  }
  replace(place, loadingNotice(`Reading ${counted(ids.length, "candidate")}`));
  try {
    definitions ??= await get("definitions", {}, { signal });
    showControls();
    const columns = await Promise.all(ids.map((id) => columnOf(id, signal, wait)));
    replace(place, comparison(columns));
    announce(`${counted(columns.length, "candidate")} compared`);
  } catch (error) {
    if (!isAborted(error)) replace(place, errorNotice(error, show));
  }
}

/** Return a candidate with its card; what went wrong with one does not hide the others. */
async function columnOf(id, signal, onWait) {
  const key = `${state.get("definition")} ${id}`;
  try {
    if (!known.has(id)) known.set(id, await get(`candidates/${encodeURIComponent(id)}`, { whole: true }, { signal }));
    if (!cards.has(key))
      cards.set(
        key,
        await get(
          `ranking/card/${encodeURIComponent(id)}`,
          { definition: state.get("definition") },
          { signal, onWait },
        ).catch(notRanked),
      );
    return { id, candidate: known.get(id), card: cards.get(key) };
  } catch (error) {
    if (isAborted(error)) throw error;
    return { id, error };
  }
}

/** A candidate that the ranking's table does not have yet has no card, but all else. */
function notRanked(error) {
  if (error.status === 404) return null;
  throw error;
}

function change(changes) {
  state.set(changes, { push: true });
  show();
}

/** Return the definition that is ranked by; undefined for one of another name, or if none is known yet. */
const definitionOf = () =>
  definitions?.documents.find((doc) => (state.get("definition") || definitions.documents[0].name) === doc.name);

/** Put the controls anew; the one that has the focus keeps it, and what is being typed stays. */
function showControls() {
  const focused = controls.contains(document.activeElement) ? document.activeElement.id : "";
  replace(controls, choices());
  if (focused) document.getElementById(focused)?.focus();
  const wanted = idsOf().length < MOST ? search : full;
  if (adding.firstChild !== wanted) replace(adding, wanted);
}

function choices() {
  const ids = idsOf(),
    choice = "ranked-by",
    only = "only-differing",
    documents = definitions?.documents ?? [];
  const select = h(
    "select",
    { id: choice, on: { change: () => change({ definition: select.value }) } },
    documents.map((doc) =>
      h("option", { value: doc.name, selected: doc === definitionOf() }, doc.title || doc.name),
    ),
  );
  return [
    state.get("ids").length > MOST &&
      h(
        "p",
        { class: "warn" },
        `The address names ${state.get("ids").length} candidates; the first ${MOST} are shown.`,
      ),
    h(
      "div",
      { class: "row spread" },
      documents.length > 0 && h("div", { class: "field-row" }, h("label", { for: choice }, "Ranked by"), select),
      ids.length > 1 &&
        h(
          "div",
          { class: "row" },
          h("input", {
            type: "checkbox",
            id: only,
            checked: state.get("only"),
            on: { change: (event) => change({ only: event.currentTarget.checked }) },
          }),
          h("label", { for: only }, "Only rows that differ"),
        ),
    ),
  ];
}

function comparison(columns) {
  const good = columns.filter((column) => !column.error);
  return [
    columns
      .filter((column) => column.error)
      .map((column) =>
        h(
          "div",
          {},
          errorNotice(column.error),
          h(
            "p",
            {},
            h(
              "button",
              { type: "button", class: "button", on: { click: () => remove(column.id) } },
              `Take ${column.id} out`,
            ),
          ),
        ),
      ),
    good.length === 1 && h("p", { class: "note" }, "Add another candidate to see what differs."),
    good.length > 0 && [
      h(
        "section",
        { class: "card stack", "aria-labelledby": "scales-title" },
        h("h2", { id: "scales-title" }, "Values with their intervals"),
        h(
          "ol",
          { class: "legend numbered" },
          good.map((column, order) =>
            h(
              "li",
              {},
              h("span", { class: `order of-${order + 1}` }, order + 1),
              formula(column.candidate.candidate.label),
            ),
          ),
        ),
        intervalPanels(
          definitions.properties,
          good.map((column) => column.candidate),
        ),
        h(
          "p",
          { class: "note" },
          "Dot: value; line: 90 % interval, where one is known. Each property has one scale for all.",
        ),
      ),
      table(good),
    ],
  ];
}

function table(columns) {
  const groups = groupsOf(columns, definitions.properties, definitionOf()?.top),
    only = state.get("only");
  return h(
    "section",
    { class: "card stack", "aria-labelledby": "rows-title" },
    h("h2", { id: "rows-title" }, "Side by side"),
    columns.length > 1 &&
      h(
        "p",
        { class: "note" },
        "Cells that differ from the first candidate are marked with a bar. Whether a difference means something, the intervals say.",
      ),
    h(
      "div",
      { class: "scroll", role: "region", "aria-label": "Comparison", tabindex: "0" },
      h(
        "table",
        { class: "compare-table" },
        h("caption", { class: "visually-hidden" }, "Candidates side by side"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td", {}),
            columns.map((column, order) => h("th", { scope: "col" }, columnHead(column, order))),
          ),
        ),
        groups.map((group) => body(group, only, columns.length)),
      ),
    ),
  );
}

function columnHead({ id, candidate }, order) {
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      {},
      h("span", { class: `order of-${order + 1}` }, order + 1),
      h(
        "a",
        {
          href: `candidate?id=${encodeURIComponent(id)}${state.get("definition") ? `&definition=${encodeURIComponent(state.get("definition"))}` : ""}`,
        },
        formula(candidate.candidate.label),
      ),
    ),
    h("div", { class: "muted small" }, id),
    h(
      "button",
      {
        type: "button",
        class: "button small-button",
        "aria-label": `Take ${candidate.candidate.label} out`,
        on: { click: () => remove(id) },
      },
      "Take out",
    ),
  );
}

function body(group, only, n) {
  const rows = group.rows.filter((row) => !(only && row.same && n > 1));
  return (
    rows.length > 0 &&
    h(
      "tbody",
      {},
      h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: n + 1 }, group.title)),
      rows.map((row) =>
        h(
          "tr",
          { class: row.same && n > 1 ? "same" : null },
          h("th", { scope: "row" }, row.title, row.note),
          row.cells.map((cell) =>
            h(
              "td",
              { class: cell.differs ? "differs" : null },
              cell.content ?? "–",
              cell.differs && h("span", { class: "visually-hidden" }, " (differs from the first)"),
            ),
          ),
        ),
      ),
    )
  );
}
