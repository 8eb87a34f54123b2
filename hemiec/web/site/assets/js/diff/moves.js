// The candidates that moved between two rankings, and why.

import { h, svg } from "../dom.js";
import { count, formula, number } from "../format.js";
import { sentenceOf } from "../notices.js";

/** Kinds of cause and what people call them. */
export const CAUSES = {
  "new-data": "New data",
  model: "Changed model",
  references: "Changed references",
  hull: "New competitor on the hull",
  definition: "Changed rules",
  filter: "Left out by the filter",
  added: "Only in the later",
  removed: "Only in the earlier",
  "new-candidate": "Passed by a new candidate",
  others: "Others moved",
  unknown: "Not known",
};
/** What happened to a candidate, and how it is coloured. */
export const STATUSES = {
  up: ["Up", "good"],
  down: ["Down", "bad"],
  same: ["Same rank", ""],
  entered: ["Entered", "accent"],
  left: ["Left", "warning"],
  ranked: ["Now ranked", "accent"],
  unranked: ["No longer ranked", "warning"],
};
const SLOPES = 16;
const ROW = 22;
const WIDTH = 860;
const SIDES = [365, 495];
const LETTERS = 42;

const link = (id, text, hash = "") => h("a", { href: `candidate?id=${encodeURIComponent(id)}${hash}` }, text);

/** Return the table of moves; candidates that others name are links with their labels where they are known. */
export function movesTable(moves, labels) {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": "Candidates that moved", tabindex: "0" },
    h(
      "table",
      { class: "plain moves" },
      h("caption", { class: "visually-hidden" }, "Candidates that moved, and why"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Candidate", "Rank", "", "Score", "Why"].map((title) =>
            h(title ? "th" : "td", { scope: title ? "col" : null }, title),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        moves.map((move) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              link(move.candidate_id, formula(move.label)),
              h("div", { class: "muted small" }, move.candidate_id),
            ),
            h("td", {}, rankText(move.rank_old), " → ", h("strong", {}, rankText(move.rank_new)), steps(move)),
            h("td", {}, h("span", { class: ["chip", STATUSES[move.status]?.[1]] }, statusText(move))),
            h("td", {}, `${number(move.score_old, 3)} → ${number(move.score_new, 3)}`),
            h(
              "td",
              { class: "why" },
              h(
                "ul",
                { class: "plain-list" },
                move.causes.map((cause) => causeItem(cause, move, labels)),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

const rankText = (rank) => (rank === null ? "–" : `#${count(rank)}`);

function statusText(move) {
  const title = STATUSES[move.status]?.[0] ?? move.status,
    places = move.rank_old === null || move.rank_new === null ? 0 : Math.abs(move.rank_new - move.rank_old);
  return places ? `${title} ${count(places)}` : title;
}

/** Return the ranks that tell the part of the rules and that of its own values from the rest. */
function steps(move) {
  const parts = [
    move.rank_between !== null &&
      move.rank_between !== move.rank_old &&
      `old data, new rules: ${rankText(move.rank_between)}`,
    move.rank_alone !== null &&
      move.rank_alone !== move.rank_new &&
      `its own change alone: ${rankText(move.rank_alone)}`,
  ].filter(Boolean);
  return parts.length > 0 && h("div", { class: "muted small" }, parts.join("; "));
}

function causeItem(cause, move, labels) {
  const jobs = cause.job_uuids,
    named = cause.candidates;
  return h(
    "li",
    {},
    h("span", { class: "chip" }, CAUSES[cause.kind] ?? cause.kind),
    " ",
    sentenceOf(cause.text.replaceAll(" -> ", " → ")),
    cause.phases.length > 0 &&
      h(
        "div",
        { class: "small muted" },
        "Phases: ",
        cause.phases.map((phase, k) => [k > 0 && ", ", formula(phase)]),
      ),
    named.length > 0 &&
      h(
        "div",
        { class: "small" },
        "See ",
        named.map((id, k) => [k > 0 && ", ", link(id, labels.has(id) ? formula(labels.get(id)) : id)]),
      ),
    jobs.length > 0 &&
      h(
        "div",
        { class: "small" },
        "Jobs: ",
        jobs.map((uuid, k) => [
          k > 0 && ", ",
          link(move.candidate_id, uuid.slice(0, 8), `#job-${encodeURIComponent(uuid)}`),
        ]),
      ),
  );
}

/** Return lines from the old ranks to the new ones, of the best that are ranked in both. */
export function slopes(moves) {
  const both = moves
    .filter((move) => move.rank_old !== null && move.rank_new !== null && move.rank_old !== move.rank_new)
    .slice(0, SLOPES);
  if (both.length < 2) return null;
  const places = [placesOf(both, "rank_old"), placesOf(both, "rank_new")],
    height = ROW * (both.length + 1.5);
  const y = (place) => ROW * (place + 1.7);
  const words = both.map((move) => `${move.label} from ${move.rank_old} to ${move.rank_new}`).join("; ");
  return h(
    "figure",
    { class: "slopes" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Ranks before and after: ${words}` },
      [
        ["Before", SIDES[0], "end"],
        ["After", SIDES[1], "start"],
      ].map(([title, x, anchor]) => svg("text", { class: "slope-head", x, y: 14, "text-anchor": anchor }, title)),
      both.map((move, k) => {
        const [from, to] = [y(places[0][k]), y(places[1][k])],
          kind = move.rank_new < move.rank_old ? "up" : "down";
        return svg(
          "g",
          { class: kind },
          svg("line", { x1: SIDES[0] + 6, x2: SIDES[1] - 6, y1: from - 4, y2: to - 4 }),
          svg("text", { x: SIDES[0], y: from, "text-anchor": "end" }, `${shortened(move.label)}  ${move.rank_old}`),
          svg("text", { x: SIDES[1], y: to }, `${move.rank_new}  ${shortened(move.label)}`),
        );
      }),
    ),
    h(
      "figcaption",
      { class: "note" },
      `The ${both.length} best of those that are ranked in both and moved. The distances are places among them.`,
    ),
  );
}

const shortened = (label) => (label.length > LETTERS ? `${label.slice(0, LETTERS - 1)}…` : label);

function placesOf(moves, key) {
  const order = [...moves.keys()].sort((p, q) => moves[p][key] - moves[q][key]);
  const places = [];
  for (const [place, k] of order.entries()) places[k] = place;
  return places;
}
