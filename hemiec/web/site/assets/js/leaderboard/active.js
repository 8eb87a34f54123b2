// The filters that are in force, each with a button that takes it away.

import { h, replace } from "../dom.js";
import { counted } from "../format.js";
import { brushCondition, cornersOf, isBrushed, NO_BRUSH } from "./brush.js";

/** Show the filters in force; nothing if there is none. */
export function showActive(place, { state, change, book, parts }) {
  const chips = [];
  const now = state.all();
  const chip = (text, title, changes) => chips.push(h("span", { class: "chip accent", title }, text,
    h("button", { type: "button", class: "chip-close", "aria-label": `Take away the filter: ${text}`,
      on: { click: () => clear(changes) } }, "×")));
  const clear = (changes) => {
    change(changes, { push: true });
    for (const part of Object.values(parts)) part.fromState?.();
    document.getElementById("results").focus({ preventScroll: true });
  };
  if (now.where.trim()) chip(shortened(now.where.trim()), now.where, { where: "" });
  if (now.campaign) chip(`campaign ${now.campaign}`, "", { campaign: "" });
  if (now.elements.length) chip(`with ${now.elements.join(", ")}`, "", { elements: [] });
  if (now.without.length) chip(`without ${now.without.join(", ")}`, "", { without: [] });
  if (isBrushed(now)) chip(regionText(now, book), brushCondition(now), NO_BRUSH);
  if (chips.length > 1) {
    chips.push(h("button", { type: "button", class: "button link", on: { click: () =>
      clear({ where: "", campaign: "", elements: [], without: [], ...NO_BRUSH }) } }, "Clear all filters"));
  }
  replace(place, chips);
  place.hidden = chips.length === 0;
}

function regionText(now, book) {
  const title = (name) => book.properties.find((property) => property.name === name)?.title ?? name;
  if (now.lasso) return `outline of ${counted(cornersOf(now.lasso).length, "corner")} in the plot`;
  const range = (name, low, high) => {
    if (low === null && high === null) return "";
    if (low === null) return `${title(name)} ≤ ${high}`;
    return high === null ? `${title(name)} ≥ ${low}` : `${low} ≤ ${title(name)} ≤ ${high}`;
  };
  return [range(now.x, now.xmin, now.xmax), range(now.y, now.ymin, now.ymax)].filter(Boolean).join(", ");
}

function shortened(text) {
  return text.length > 70 ? `${text.slice(0, 67)}…` : text;
}
