// Values of the compared candidates with their intervals, each property on one scale for all.

import { h, svg } from "../dom.js";
import { interval, number, unit } from "../format.js";

const WIDTH = 340;
const ROW = 26;
const TOP = 8;
const LEFT = 26;
const RIGHT = 62;
const BOTTOM = 22;
/** Room beyond the outermost values, as part of their range. */
const PADDING = 0.08;
/** Values nearer to each other than this part of them are equal but for rounding. */
const SAME = 1e-9;

/** Return a panel per property that at least one candidate has. */
export function intervalPanels(properties, candidates) {
  const panels = properties.map((property) => panel(property, candidates)).filter(Boolean);
  return h("div", { class: "interval-panels" }, panels);
}

function panel(property, candidates) {
  const found = candidates
    .map((candidate, order) => ({ order, ...candidate[property.name] }))
    .filter((quantity) => quantity.value !== null);
  if (!found.length) return null;
  const scale = scaleOf(found.flatMap((quantity) => [quantity.value, ...(quantity.interval ?? [])]));
  const height = TOP + ROW * candidates.length + BOTTOM,
    base = height - BOTTOM;
  const words = candidates
    .map((candidate, order) => `${order + 1}: ${inWords(candidate[property.name], property.digits)}`)
    .join("; ");
  return h(
    "figure",
    { class: "interval-panel" },
    h("h3", {}, property.title, h("span", { class: "muted" }, ` (${unit(found[0].unit)})`)),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${property.title}: ${words}` },
      scale.ticks.flatMap((tick) => [
        svg("line", { class: "tick", x1: scale.at(tick), x2: scale.at(tick), y1: TOP, y2: base }),
        svg(
          "text",
          { class: "tick-text", x: scale.at(tick), y: height - 6, "text-anchor": "middle" },
          number(tick, scale.digits),
        ),
      ]),
      candidates.map((candidate, order) => rowOf(candidate[property.name], order, scale, property.digits)),
    ),
  );
}

function rowOf(quantity, order, scale, digits) {
  const y = TOP + ROW * (order + 0.5),
    name = svg("text", { class: "row-name", x: 8, y: y + 4 }, order + 1);
  if (quantity.value === null) return [name, svg("text", { class: "tick-text", x: LEFT + 4, y: y + 4 }, "no value")];
  const [low, high] = quantity.interval ?? [quantity.value, quantity.value];
  return [
    name,
    svg(
      "g",
      { class: `of-${order + 1}` },
      quantity.interval && svg("line", { class: "reach", x1: scale.at(low), x2: scale.at(high), y1: y, y2: y }),
      quantity.interval &&
        [low, high].map((end) =>
          svg("line", { class: "reach-end", x1: scale.at(end), x2: scale.at(end), y1: y - 4, y2: y + 4 }),
        ),
      svg("circle", { class: "dot", cx: scale.at(quantity.value), cy: y, r: 4.5 }),
    ),
    svg("text", { class: "row-value", x: WIDTH - 2, y: y + 4, "text-anchor": "end" }, number(quantity.value, digits)),
  ];
}

const inWords = (quantity, digits) =>
  quantity.value === null
    ? "no value"
    : number(quantity.value, digits) +
      (quantity.interval ? `, 90 % interval ${interval(...quantity.interval, digits)}` : "");

/** Return where values lie, and a few round numbers between them. */
export function scaleOf(values) {
  const low = Math.min(...values),
    high = Math.max(...values),
    size = Math.max(Math.abs(low), Math.abs(high)),
    range = high - low > SAME * size ? high - low : size || 1;
  const [from, to] = [low - PADDING * range, high + PADDING * range];
  const step = roundStep((to - from) / 4),
    digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const [first, last] = [Math.ceil(from / step - 1e-9), Math.floor(to / step + 1e-9)];
  const ticks = Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  return { at: (x) => LEFT + ((WIDTH - LEFT - RIGHT) * (x - from)) / (to - from), ticks, digits };
}

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((part) => part * power >= rough) ?? 10);
}
