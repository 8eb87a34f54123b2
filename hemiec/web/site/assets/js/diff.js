// The page that says which candidates moved between two snapshots, and why.

import { download, get, getAll, isAborted, Latest } from "./api.js";
import { byId, h, newId, replace } from "./dom.js";
import { count, counted, time } from "./format.js";
import { announce, showLayout } from "./layout.js";
import { emptyNotice, errorNotice, loadingNotice, sentenceOf } from "./notices.js";
import { State } from "./state.js";
import { CAUSES, movesTable, slopes, STATUSES } from "./diff/moves.js";

const PER_PAGE = 50;
const state = new State({ old: "", new: "", definition: "", cause: "", status: "", first: 0 });
const latest = new Latest();
const choices = h("div", { class: "card" });
const place = h("div", { class: "sections" });
/** What can be compared: snapshots and saved leaderboards, the latest first. */
let sidesKnown = [];
let definitions = [];
/** Snapshots that cannot be read. */
let damaged = [];
let shown = null;

showLayout("diff");
replace(
  byId("content"),
  h(
    "div",
    { class: "page-head" },
    h(
      "div",
      {},
      h("h1", {}, "What changed"),
      h("p", { class: "muted" }, "Which candidates moved between two snapshots, and why."),
    ),
  ),
  h("div", { class: "sections" }, choices, place),
);
state.onBack(() => {
  showChoices();
  compare();
});
start();

async function start() {
  replace(choices, loadingNotice("Reading the snapshots"));
  try {
    const [listed, boards, rules] = await Promise.all([get("snapshots"), getAll("leaderboards"), get("definitions")]);
    sidesKnown = [...listed.documents.map(snapshotSide), ...boards.map(boardSide)].sort((p, q) =>
      q.created.localeCompare(p.created),
    );
    definitions = rules.documents;
    damaged = Object.keys(listed.damaged);
  } catch (error) {
    if (!isAborted(error)) replace(choices, errorNotice(error, start));
    return;
  }
  const [newest, before] = lastTwo();
  if (!before && !(state.get("old") && state.get("new"))) {
    choices.hidden = true;
    replace(
      place,
      emptyNotice(newest ? "One snapshot only" : "No snapshot yet", [
        "A snapshot keeps the candidates as they are now. Take one with ",
        h("code", {}, "hemiec snapshots take"),
        " or ",
        h("code", {}, "hemiec rank --save"),
        "; two of them can be compared here.",
      ]),
    );
    return;
  }
  if (!state.get("old") && !state.get("new")) state.set({ old: before.id, new: newest.id });
  showChoices();
  compare();
}

/** Return the newest and the one to compare it with: a leaderboard and the snapshot that it ranks are one. */
function lastTwo() {
  const [newest, ...others] = sidesKnown;
  return [newest, others.find((side) => side.board === newest.board || side.data !== newest.data)];
}

function showChoices() {
  const change = (changes) => {
    state.set({ ...changes, first: 0 }, { push: true });
    compare();
  };
  const options = (chosen) => [
    !sidesKnown.some((side) => side.id === chosen) &&
      h("option", { value: chosen, selected: true }, chosen || "choose one"),
    [
      ["Snapshots", false],
      ["Saved leaderboards", true],
    ].map(([title, board]) =>
      group(
        title,
        sidesKnown.filter((side) => side.board === board),
        chosen,
      ),
    ),
  ];
  const rules = [
    h("option", { value: "" }, "each one’s own, else the default"),
    definitions.map((doc) =>
      h("option", { value: doc.name, selected: doc.name === state.get("definition") }, doc.title || doc.name),
    ),
  ];
  replace(
    choices,
    h(
      "div",
      { class: "diff-choices" },
      field("Earlier", options(state.get("old")), (old) => change({ old })),
      h(
        "button",
        {
          type: "button",
          class: "button small-button",
          id: "swap",
          "aria-label": "Swap the two",
          title: "Swap the two",
          on: {
            click: () => {
              change({ old: state.get("new"), new: state.get("old") });
              showChoices();
              byId("swap").focus();
            },
          },
        },
        "⇄",
      ),
      field("Later", options(state.get("new")), (chosen) => change({ new: chosen })),
      field("Ranked by", rules, (definition) => change({ definition })),
    ),
    damaged.length > 0 &&
      h(
        "p",
        { class: "warn" },
        `${counted(damaged.length, "snapshot")} cannot be read: ${damaged.join(", ")}. `,
        h("code", {}, "hemiec snapshots verify"),
        " says what is wrong.",
      ),
  );
}

const snapshotSide = (of) => ({
  id: of.snapshot_id,
  created: of.created_at,
  board: false,
  data: of.snapshot_id,
  name: [time(of.created_at), counted(of.n_candidates, "candidate"), of.campaign, of.snapshot_id]
    .filter(Boolean)
    .join(", "),
});
const boardSide = (of) => ({
  id: of.leaderboard_id,
  created: of.created_at,
  board: true,
  data: of.snapshot_id,
  name: [time(of.created_at), of.title, counted(of.n_entries, "entry", "entries"), of.leaderboard_id].join(", "),
});

const group = (title, sides, chosen) =>
  sides.length > 0 &&
  h(
    "optgroup",
    { label: title },
    sides.map((side) => h("option", { value: side.id, selected: side.id === chosen }, side.name)),
  );

function field(title, options, change) {
  const id = newId("field"),
    select = h("select", { id, on: { change: () => change(select.value) } }, options);
  return h("div", { class: "diff-field" }, h("label", { for: id }, title), select);
}

const question = () => ({ old: state.get("old"), new: state.get("new"), definition: state.get("definition") });

async function compare() {
  const signal = latest.next();
  if (!state.get("old") || !state.get("new")) {
    replace(place, emptyNotice("Nothing to compare yet", "Choose an earlier and a later one above."));
    return;
  }
  replace(place, loadingNotice("Comparing"));
  try {
    shown = await get("diff", question(), { signal });
    render();
    announce(`${counted(shown.n_moves, "candidate")} moved or changed`);
  } catch (error) {
    if (!isAborted(error)) replace(place, errorNotice(error, compare));
  }
}

function render() {
  replace(
    place,
    h(
      "section",
      { class: "card stack", "aria-labelledby": "summary-title" },
      h(
        "div",
        { class: "row spread" },
        h("h2", { id: "summary-title" }, "In short"),
        h("button", { type: "button", class: "button", id: "download", on: { click: save } }, "Download JSON"),
      ),
      sides(),
      statuses(),
      changes("The rules differ", shown.definition_changes),
      changes("The models differ", shown.model_changes),
      changes("To know", shown.notes),
    ),
    shown.n_moves === 0
      ? emptyNotice("Nothing moved", "No candidate has another rank or other values in the two.")
      : moved(),
  );
}

function sides() {
  const side = (of, title) =>
    h(
      "div",
      {},
      h("dt", {}, title),
      h(
        "dd",
        {},
        h("code", {}, of.id),
        h(
          "span",
          { class: "fact-note" },
          `${time(of.created_at)}, ${counted(of.n_candidates, "candidate")}, ${count(of.n_ranked)} ranked by ${of.definition}${of.campaign ? `, campaign ${of.campaign}` : ""}${of.where ? `, where ${of.where}` : ""}`,
        ),
      ),
    );
  return h("dl", { class: "terms sides" }, side(shown.old, "Earlier"), side(shown.new, "Later"));
}

const statuses = () =>
  h(
    "ul",
    { class: "legend" },
    Object.entries(shown.statuses)
      .filter(([, n]) => n > 0)
      .map(([status, n]) =>
        h(
          "li",
          {},
          h(
            "span",
            { class: ["chip", STATUSES[status]?.[1]] },
            `${count(n)} ${(STATUSES[status]?.[0] ?? status).toLowerCase()}`,
          ),
        ),
      ),
  );

const changes = (title, texts) =>
  texts.length > 0 && [
    h("h3", {}, title),
    h(
      "ul",
      { class: "doubts" },
      texts.map((text) => h("li", {}, sentenceOf(text))),
    ),
  ];

function moved() {
  const fits = (move) =>
    (!state.get("cause") || move.causes.some((cause) => cause.kind === state.get("cause"))) &&
    (!state.get("status") || move.status === state.get("status"));
  const moves = shown.moves.filter(fits),
    first = Math.max(0, Math.min(Math.trunc(state.get("first")), moves.length - 1)),
    page = moves.slice(first, first + PER_PAGE);
  const labels = new Map(shown.moves.map((move) => [move.candidate_id, move.label]));
  return h(
    "section",
    { class: "card stack", "aria-labelledby": "moves-title" },
    h(
      "h2",
      { id: "moves-title" },
      counted(moves.length, "candidate"),
      (state.get("cause") || state.get("status")) && " of these",
    ),
    filters(
      "Cause",
      "cause",
      Object.keys(CAUSES)
        .filter((kind) => shown.causes[kind] > 0)
        .map((kind) => [kind, CAUSES[kind], shown.causes[kind]]),
    ),
    filters(
      "What happened",
      "status",
      Object.keys(STATUSES)
        .map((status) => [status, STATUSES[status][0], shown.moves.filter((move) => move.status === status).length])
        .filter(([, , n]) => n > 0),
    ),
    slopes(moves),
    moves.length
      ? [movesTable(page, labels), pager(moves.length, first)]
      : h("p", { class: "note" }, "None fits both choices."),
  );
}

/** Return buttons of which at most one is pressed; pressing it again lifts it. */
function filters(title, key, choices) {
  const press = (value) => {
    state.set({ [key]: state.get(key) === value ? "" : value, first: 0 }, { push: true });
    render();
    document.querySelector(`[data-filter="${key}-${value}"]`)?.focus();
    announce(byId("moves-title").textContent);
  };
  return h(
    "div",
    { class: "row", role: "group", "aria-label": title },
    h("span", { class: "label" }, title),
    choices.map(([value, name, n]) =>
      h(
        "button",
        {
          type: "button",
          class: "button small-button",
          "aria-pressed": String(state.get(key) === value),
          data: { filter: `${key}-${value}` },
          on: { click: () => press(value) },
        },
        `${name} ${count(n)}`,
      ),
    ),
  );
}

function pager(total, first) {
  const step = (title, to, possible) =>
    h(
      "button",
      {
        type: "button",
        class: "button",
        disabled: !possible,
        data: { step: title },
        on: {
          click: () => {
            state.set({ first: to }, { push: true });
            render();
            document.querySelector(`[data-step="${title}"]:enabled, [data-step]:enabled`)?.focus();
          },
        },
      },
      title,
    );
  return (
    total > PER_PAGE &&
    h(
      "div",
      { class: "row" },
      step("Earlier", Math.max(first - PER_PAGE, 0), first > 0),
      step("Later", first + PER_PAGE, first + PER_PAGE < total),
      h("span", { class: "muted small" }, `${first + 1} to ${Math.min(first + PER_PAGE, total)} of ${total}`),
    )
  );
}

async function save(event) {
  try {
    await download("diff", question());
    announce("Saved");
  } catch (error) {
    if (!isAborted(error)) event.target.closest("section").append(errorNotice(error));
  }
}
