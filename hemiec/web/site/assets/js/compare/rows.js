// The rows of a comparison: a title, and for each candidate what stands in its cell.

import { h } from "../dom.js";
import { count, counted, formula, interval, number, percent, unit } from "../format.js";
import { sentenceOf } from "../notices.js";
import { products } from "../pieces.js";
import { rangeText, verdict, windowEnds } from "../candidate/thermo_data.js";

/**
 * Return all rows in groups.
 *
 * @param {Array<{candidate: object, card: object|null}>} columns A candidate each, with its rank or null.
 * @param {object[]} properties Title and digits of each.
 * @param {number} [top] Ranks that count as the top.
 * @returns {Array<{title: string, rows: Array<{title: Node|string, cells: Array, same: boolean, note: Node|null}>}>}
 */
export function groupsOf(columns, properties, top) {
  const candidates = columns.map((column) => column.candidate);
  return [
    { title: "Standing", rows: standing(columns, top) },
    { title: "Properties", rows: properties.flatMap((property) => propertyRows(property, candidates)) },
    { title: "Composition", rows: composition(candidates) },
    { title: "Structure", rows: structure(candidates) },
    { title: "Transport", rows: transport(candidates) },
    { title: "Stability", rows: stability(candidates) },
    { title: "Record", rows: record(candidates) },
  ];
}

/** Return a row; cells differ whose text, or what is given instead of it, is not that of the first one. */
function row(title, cells, { note = null, texts = cells.map(textOf) } = {}) {
  return {
    title,
    note,
    same: texts.every((text) => text === texts[0]),
    cells: cells.map((content, k) => ({ content, differs: k > 0 && texts[k] !== texts[0] })),
  };
}

const textOf = (cell) =>
  cell === null || cell === undefined
    ? ""
    : cell instanceof Node
      ? cell.textContent
      : Array.isArray(cell)
        ? cell
            .flat(Infinity)
            .filter((part) => part !== false && part !== null)
            .map(textOf)
            .join("")
        : String(cell);

const numbers = (title, candidates, value, digits, of = "") =>
  row(
    title,
    candidates.map((candidate) => {
      const found = value(candidate);
      return found === null || found === undefined ? "–" : `${number(found, digits)}${of && ` ${of}`}`;
    }),
  );

function standing(columns, top) {
  const cards = columns.map((column) => column.card);
  const of = (value) => cards.map((card) => (card === null ? "–" : value(card)));
  return [
    row(
      "Rank",
      of((card) =>
        card.row.rank === null ? "not ranked" : h("strong", {}, `#${count(card.row.rank)} of ${count(card.n_ranked)}`),
      ),
    ),
    row(
      "90 % interval of the rank",
      of((card) => (card.uncertainty ? interval(...card.uncertainty.rank_interval, 0) : "–")),
    ),
    row(
      top ? `In the top ${count(top)}` : "In the top",
      of((card) => (card.uncertainty ? percent(card.uncertainty.probability_top) : "–")),
    ),
    row(
      "On the Pareto front",
      of((card) => (card.uncertainty ? percent(card.uncertainty.probability_pareto) : "–")),
    ),
    row(
      "Score",
      of((card) => number(card.row.score, 3)),
    ),
    row(
      "Missing",
      of((card) => card.row.missing.map((name) => name.replaceAll("_", " ")).join(", ") || "nothing"),
    ),
    row(
      "Doubts",
      of((card) => doubtsOf(card.row.doubts)),
    ),
  ];
}

const doubtsOf = (doubts) =>
  doubts.length === 0
    ? "none"
    : h(
        "details",
        {},
        h("summary", {}, counted(doubts.length, "doubt")),
        h(
          "ul",
          { class: "plain-list small" },
          doubts.map((doubt) => h("li", {}, sentenceOf(doubt.text))),
        ),
      );

function propertyRows(property, candidates) {
  const found = candidates.map((candidate) => candidate[property.name]),
    first = found[0];
  const value = (quantity) =>
    quantity.value === null
      ? h("span", { class: "absent", title: quantity.reason }, "no value")
      : [
          h("strong", {}, number(quantity.value, property.digits)),
          ` ${unit(quantity.unit)}`,
          quantity.interval && h("div", { class: "muted small" }, interval(...quantity.interval, property.digits)),
        ];
  const values = found.map(value);
  const known = found.filter((quantity) => quantity.value !== null);
  const methods = new Set(
    known.map((quantity) => `${quantity.protocol} ${quantity.protocol_hash} ${quantity.calibration}`),
  );
  const note =
    methods.size > 1
      ? h("div", { class: "warn-text small" }, "Protocols or corrections differ: compare with care.")
      : null;
  return [
    row(
      property.title,
      values.map((cell, k) => [cell, k > 0 && found[k].value !== null && apart(first, found[k])]),
      // What says whether intervals overlap is no part of the value.
      { note, texts: values.map(textOf) },
    ),
    row(
      h("span", { class: "small" }, "computed by"),
      found.map((quantity) =>
        h("span", { class: "small" }, quantity.value === null ? sentenceOf(quantity.reason) : source(quantity)),
      ),
    ),
  ];
}

const source = (quantity) => [
  quantity.protocol ?? "no protocol",
  `, ${counted(quantity.n, "sample")}`,
  quantity.calibration && `, corrected by ${quantity.calibration}`,
];

/** Return whether a value is apart from the first one's: only intervals tell. */
function apart(first, other) {
  if (first.value === null || !first.interval || !other.interval) return null;
  const beyond = first.interval[1] < other.interval[0] || other.interval[1] < first.interval[0];
  return h("span", { class: ["chip", beyond && "accent"] }, beyond ? "apart from the first" : "intervals overlap");
}

function composition(candidates) {
  const species = candidates.map(
    (candidate) =>
      new Map(
        Object.entries(candidate.candidate.sites).flatMap(([site, of]) =>
          Object.entries(of).map(([name, share]) => [`${name} on ${site}`, share]),
        ),
      ),
  );
  const names = [...new Set(species.flatMap((of) => [...of.keys()]))].sort(
    (p, q) => p.at(-1).localeCompare(q.at(-1)) || p.localeCompare(q),
  );
  const spec = (key) => (candidate) => candidate.candidate[key];
  return [
    ...names.map((name) =>
      row(
        name,
        species.map((of) => of.get(name) ?? "–"),
      ),
    ),
    numbers("Mean valence on B", candidates, spec("mean_B_valence"), 2),
    numbers("Oxygen deficiency δ", candidates, spec("oxygen_deficiency"), 3),
    numbers("Goldschmidt t", candidates, spec("tolerance_factor"), 3),
    numbers("Bartel τ", candidates, spec("bartel_tau"), 2),
    numbers("Mixing entropy", candidates, spec("configurational_entropy"), 2, "R"),
    numbers("Molar mass", candidates, spec("molar_mass"), 1, "g/mol"),
    numbers("Price of the cations", candidates, spec("raw_material_cost"), 0, "USD/kg"),
  ];
}

const ofResult = (value) => (candidate) => (candidate.results.length ? value(candidate.results[0]) : null);

function structure(candidates) {
  return [
    row("Tilts", candidates.map(ofResult((result) => result.tilt ?? "–"))),
    numbers(
      "Atoms in the cell",
      candidates,
      ofResult((result) => result.n_atoms),
      0,
    ),
    numbers(
      "Images apart",
      candidates,
      ofResult((result) => result.shortest_image_distance),
      2,
      "Å",
    ),
    numbers(
      "Volume",
      candidates,
      ofResult((result) => result.volume_per_atom),
      2,
      "Å³/atom",
    ),
    numbers(
      "Warren–Cowley rms",
      candidates,
      ofResult((result) => result.warren_cowley_rms),
      3,
    ),
    numbers(
      "icet L1",
      candidates,
      ofResult((result) => result.icet_l1),
      2,
    ),
  ];
}

function transport(candidates) {
  const of = (value) => ofResult((result) => (result.transport ? value(result.transport) : null));
  return [
    row(
      "Mobile ion",
      candidates.map(of((found) => found.mobile)).map((cell) => cell ?? "–"),
    ),
    numbers(
      "Effective barrier, uncorrected",
      candidates,
      of((found) => found.effective_barrier.value),
      2,
      "eV",
    ),
    numbers(
      "Median single hop",
      candidates,
      of((found) => found.hop_barrier.value),
      2,
      "eV",
    ),
    row(
      "Hops computed",
      candidates.map(of((found) => `${found.n_computed} of ${found.n_hops}`)).map((cell) => cell ?? "–"),
    ),
    numbers(
      "Correlation factor",
      candidates,
      of((found) => found.correlation_factor),
      2,
    ),
  ];
}

function stability(candidates) {
  const of = (value) =>
    candidates
      .map(ofResult((result) => (result.thermodynamics ? value(result.thermodynamics) : null)))
      .map((cell) => cell ?? "–");
  const windowOf = (element) => (found) => {
    const window = found.windows.find((candidate) => candidate.element === element);
    if (!window) return null;
    const { low, high, unit: name } = windowEnds(window);
    return `${rangeText(low, high, 2, number)}${low === null && high === null ? "" : ` ${name}`}`;
  };
  return [
    row(
      "Decomposes to",
      of((found) => found.hull && products(found.hull.decomposition, percent)),
    ),
    row(
      "Stable",
      of((found) => found.entropy && verdict(found.entropy)),
    ),
    row(
      "δ in air",
      of(
        (found) =>
          found.oxygen && `${number(found.oxygen.delta_in_air, 3)} at ${number(found.oxygen.air_temperature_K, 0)} K`,
      ),
    ),
    row("Window of Li", of(windowOf("Li"))),
    row("Window of O", of(windowOf("O"))),
  ];
}

function record(candidates) {
  return [
    row(
      "Formula",
      candidates.map((candidate) => formula(candidate.candidate.formula)),
    ),
    row(
      "Campaigns",
      candidates.map((candidate) => candidate.campaigns.join(", ") || "none"),
    ),
    row(
      "Results",
      candidates.map((candidate) => count(candidate.results.length)),
    ),
    row(
      "Built",
      candidates.map((candidate) => candidate.last_updated.slice(0, 10)),
    ),
  ];
}
