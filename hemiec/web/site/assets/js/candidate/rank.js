// Where a candidate stands by a definition, how sure that is, and what to know before trusting it.

import { get, isAborted, Latest } from "../api.js";
import { h, newId, replace, svg } from "../dom.js";
import { count, counted, interval, number, percent } from "../format.js";
import { errorNotice, loadingNotice, sentenceOf, waitingNotice } from "../notices.js";
import { section } from "../pieces.js";

const DOUBTS_SHOWN = 5;

/**
 * Return the section on the rank of a candidate.
 *
 * @param {string} id The candidate.
 * @param {object} state Of the page; its `definition` is chosen here, "" for the server's default.
 * @param {{documents: object[], properties: object[]}} definitions As the server lists them.
 */
export function rankSection(id, state, definitions) {
  const body = h("div", { class: "rank-body", "aria-live": "polite" }),
    latest = new Latest(),
    choice = newId("definition");
  const show = async () => {
    const signal = latest.next(),
      wait = (waiting) => replace(body, waitingNotice(waiting));
    replace(body, loadingNotice("Ranking"));
    try {
      const found = await get(
        `ranking/card/${encodeURIComponent(id)}`,
        { definition: state.get("definition") },
        { signal, onWait: wait },
      );
      replace(body, cardOf(found, definitionOf(definitions, state), definitions.properties));
    } catch (error) {
      if (!isAborted(error)) replace(body, errorNotice(error, show));
    }
  };
  const select = h(
    "select",
    {
      id: choice,
      on: {
        change: () => {
          state.set({ definition: select.value }, { push: true });
          show();
        },
      },
    },
    definitions.documents.map((doc) =>
      h(
        "option",
        { value: doc.name, selected: doc.name === definitionOf(definitions, state)?.name },
        doc.title || doc.name,
      ),
    ),
  );
  state.onBack(() => {
    select.value = definitionOf(definitions, state)?.name ?? "";
    show();
  });
  show();
  return section(
    "rank",
    "Rank",
    definitions.documents.length > 0 &&
      h("p", { class: "field-row" }, h("label", { for: choice }, "Leaderboard"), select),
    body,
  );
}

const definitionOf = (definitions, state) =>
  definitions.documents.find((doc) => doc.name === state.get("definition")) ?? definitions.documents[0];

function cardOf({ row, uncertainty, note, n_ranked: ranked }, definition, properties) {
  const title = (name) => properties.find((property) => property.name === name)?.title ?? name.replaceAll("_", " ");
  return [
    row.rank === null ? unranked(row, title) : ranks(row, uncertainty, ranked, definition),
    row.rank !== null && note && h("p", { class: "note" }, note),
    doubts(row, title, definition),
    definition &&
      h(
        "p",
        { class: "note" },
        h(
          "a",
          { href: `./?definition=${encodeURIComponent(definition.name)}` },
          `The leaderboard ${definition.title || definition.name}`,
        ),
      ),
  ];
}

function unranked(row, title) {
  const missing = row.missing.map((name) =>
    h(
      "li",
      {},
      h("a", { href: `#property-${name}` }, title(name)),
      row.values[name]?.reason ? [": ", sentenceOf(row.values[name].reason)] : "",
    ),
  );
  return [
    h("p", { class: "standing" }, h("strong", { class: "rank-number none" }, "Not ranked")),
    missing.length > 0
      ? [
          h("p", {}, "A leaderboard never guesses a value that is missing here:"),
          h("ul", { class: "plain-list" }, missing),
        ]
      : h("p", {}, "The condition of this leaderboard leaves it out, or a criterion has no value that counts."),
  ];
}

function ranks(row, uncertainty, ranked, definition) {
  const top = definition?.top ?? 10;
  return [
    h(
      "p",
      { class: "standing" },
      h("strong", { class: "rank-number" }, `#${count(row.rank)}`),
      ` of ${count(ranked)} ranked`,
      row.pareto_layer === 1 && h("span", { class: "chip accent" }, "on the Pareto front"),
      row.pareto_layer > 1 && h("span", { class: "chip" }, `Pareto layer ${count(row.pareto_layer)}`),
    ),
    uncertainty && rankStrip(row.rank, uncertainty.rank_interval, ranked),
    h(
      "dl",
      { class: "terms" },
      [
        ["Score", number(row.score, 3), uncertainty && `90 % interval ${interval(...uncertainty.score_interval, 3)}`],
        uncertainty && [
          "Expected rank",
          number(uncertainty.expected_rank, 1),
          `90 % interval ${interval(...uncertainty.rank_interval, 0)}`,
        ],
        uncertainty && [`In the top ${count(top)}`, percent(uncertainty.probability_top), "of the draws"],
        uncertainty && ["On the Pareto front", percent(uncertainty.probability_pareto), "of the draws"],
      ]
        .filter(Boolean)
        .map(([term, value, note]) =>
          h("div", {}, h("dt", {}, term), h("dd", {}, value, note && h("span", { class: "fact-note" }, note))),
        ),
    ),
    !uncertainty && h("p", { class: "note" }, "It has no probabilities, as it was not drawn."),
  ];
}

/** Return a strip from the first to the last rank with the interval and the rank by values. */
function rankStrip(rank, [low, high], ranked) {
  const at = (x) => (ranked > 1 ? 2 + (96 * (x - 1)) / (ranked - 1) : 50);
  const label = `rank ${count(rank)}, 90 % interval ${interval(low, high, 0)}, of ${count(ranked)}`;
  return h(
    "div",
    { class: "rank-strip" },
    svg(
      "svg",
      { viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": label },
      svg("line", { x1: 2, x2: 98, y1: 3, y2: 3, class: "strip-line" }),
      svg("line", { x1: at(low), x2: Math.max(at(high), at(low) + 0.8), y1: 3, y2: 3, class: "strip-interval" }),
      svg("line", { x1: at(rank), x2: at(rank), y1: 0.4, y2: 5.6, class: "strip-value" }),
    ),
    h("div", { class: "strip-ends", "aria-hidden": "true" }, h("span", {}, "1"), h("span", {}, count(ranked))),
  );
}

/** Return the doubts, those about what the candidate is ranked by first; further ones are opened on demand. */
function doubts(row, title, definition) {
  if (!row.doubts.length) return h("p", { class: "note" }, "Nothing is known that casts doubt on its numbers.");
  const counts = new Set((definition?.criteria ?? []).map((criterion) => criterion.property));
  const ordered = [...row.doubts].sort((p, q) => counts.has(q.property) - counts.has(p.property));
  const list = (some) =>
    h(
      "ul",
      { class: "doubts" },
      some.map((doubt) =>
        h(
          "li",
          {},
          doubt.property && [h("a", { href: `#property-${doubt.property}` }, title(doubt.property)), ": "],
          sentenceOf(doubt.text),
        ),
      ),
    );
  return [
    h("h3", {}, "What is doubtful"),
    list(ordered.slice(0, DOUBTS_SHOWN)),
    ordered.length > DOUBTS_SHOWN &&
      h(
        "details",
        {},
        h("summary", {}, `${counted(ordered.length - DOUBTS_SHOWN, "further doubt")}`),
        list(ordered.slice(DOUBTS_SHOWN)),
      ),
  ];
}
