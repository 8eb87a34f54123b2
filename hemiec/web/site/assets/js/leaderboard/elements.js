// The filter by elements: a periodic table of buttons, each any, with or without; arrow keys move between them.

import { get, isAborted, Latest } from "../api.js";
import { h, replace } from "../dom.js";
import { count, counted } from "../format.js";
import { announce } from "../layout.js";
import { sentenceOf } from "../notices.js";
import { ELEMENTS } from "./periodic-table.js";

const SAID = { any: "any", with: "must be in", without: "must not be in" };
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** The panel with the periodic table; counts come when it is open. */
export class ElementFilter {
  #buttons = new Map();
  #counts = null;
  #asked = "";
  #latest = new Latest();

  constructor(panel, { state, change, filters }) {
    Object.assign(this, { panel, state, change, filters });
    const grid = h("div", { class: "periodic", role: "group", "aria-label": "Elements; arrow keys move, Enter or Space changes",
      on: { keydown: (event) => this.#move(event) } }, ELEMENTS.map((element) => this.#button(element)));
    this.note = h("p", { class: "small muted" });
    replace(panel.querySelector("#elements-grid"),
      h("p", { class: "small muted" }, "Press once: the element must be in; twice: it must not; a third time: any. Small numbers count the candidates that have it now."),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Periodic table" }, grid),
      h("div", { class: "row" }, this.note,
        h("button", { type: "button", class: "button", id: "clear-elements", on: { click: () => this.#clear() } }, "Any elements")));
    panel.addEventListener("toggle", () => this.load());
    if (state.get("elements").length || state.get("without").length) panel.open = true;
    this.fromState();
  }

  /** Ask for the counts, if the panel is open and the filter is another one. */
  async load() {
    const asked = JSON.stringify(this.filters());
    if (!this.panel.open || asked === this.#asked) return;
    try {
      this.#counts = (await get("ranking/elements", this.filters(), { signal: this.#latest.next() })).elements;
      this.#asked = asked;
      replace(this.note);
    } catch (error) {
      if (isAborted(error)) return;
      replace(this.note, "No counts: ", sentenceOf(error.message));
    }
    this.fromState();
  }

  fromState() {
    for (const element of ELEMENTS) this.#show(element);
    const parts = [["with", "elements"], ["without", "without"]].filter(([, name]) => this.state.get(name).length)
      .map(([word, name]) => `${word} ${this.state.get(name).join(", ")}`);
    replace(this.panel.querySelector("#elements-chosen"), parts.length ? parts.join("; ") : "any");
  }

  #button(element) {
    const button = h("button", { type: "button", tabindex: element.symbol === "H" ? "0" : "-1", data: { symbol: element.symbol },
      style: { "grid-row": String(element.row > 7 ? element.row + 1 : element.row), "grid-column": String(element.column) },
      on: { click: () => this.#turn(element), focus: () => this.#rove(button) } },
      h("span", { class: "symbol" }, element.symbol), h("span", { class: "many" }));
    this.#buttons.set(element.symbol, button);
    return button;
  }

  #show(element) {
    const button = this.#buttons.get(element.symbol);
    const choice = this.#choice(element.symbol);
    const n = this.#counts ? this.#counts[element.symbol] ?? 0 : null;
    button.className = `element ${choice}${n === 0 && choice === "any" ? " none" : ""}`;
    button.setAttribute("aria-label", `${element.symbol}, ${element.name}: ${SAID[choice]}${n === null ? "" : `, ${counted(n, "candidate")}`}`);
    button.title = element.name;
    replace(button.lastChild, n ? shortCount(n) : "");
  }

  #choice(symbol) {
    if (this.state.get("elements").includes(symbol)) return "with";
    return this.state.get("without").includes(symbol) ? "without" : "any";
  }

  #turn({ symbol, name }) {
    const next = { any: "with", with: "without", without: "any" }[this.#choice(symbol)];
    const but = (list) => this.state.get(list).filter((other) => other !== symbol);
    this.change({
      elements: next === "with" ? [...but("elements"), symbol] : but("elements"),
      without: next === "without" ? [...but("without"), symbol] : but("without"),
    }, { push: true });
    this.fromState();
    announce(`${name} ${SAID[next]}`);
  }

  #clear() {
    this.change({ elements: [], without: [] }, { push: true });
    this.fromState();
  }

  /** Only one button is in the order of the Tab key: the last one that had the focus. */
  #rove(button) {
    for (const other of this.#buttons.values()) other.tabIndex = other === button ? 0 : -1;
  }

  #move(event) {
    const from = ELEMENTS.find(({ symbol }) => symbol === event.target.dataset?.symbol);
    const ends = { Home: ELEMENTS[0], End: ELEMENTS.at(-1) };
    const to = ends[event.key] ?? (MOVES[event.key] && from && neighbour(from, MOVES[event.key]));
    if (!to) return;
    event.preventDefault();
    this.#buttons.get(to.symbol).focus();
  }
}

/** Return the next element in a direction, over gaps; none at the edge. */
function neighbour(from, [down, right]) {
  for (let step = 1; step < 18; step += 1) {
    const [row, column] = [from.row + step * down, from.column + step * right];
    const found = ELEMENTS.find((element) => element.row === row && element.column === column);
    if (found) return found;
  }
  return null;
}

/** Return a number in four characters at most. */
function shortCount(n) {
  if (n < 10_000) return count(n);
  return n < 999_500 ? `${Math.round(n / 1000)}k` : `${(n / 1e6).toFixed(1)}M`;
}
