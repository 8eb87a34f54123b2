// The rules: which definition, its weights while they are tried, and how far each can move before another one wins.

import { h, newId, replace } from "../dom.js";
import { formula, number, unit } from "../format.js";

const LARGEST = 5;

/** Chooser of the definition, weights and their ranges. */
export class Rules {
  #definition = null;
  #controls = new Map();

  constructor(places, { state, change, book }) {
    Object.assign(this, { places, state, change, book });
    places.weights.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Show the rules that the state names, and its weights. */
  fromState() {
    const name = this.state.get("definition");
    const definition = this.book.documents.find((document) => document.name === name) ?? this.book.documents[0];
    if (definition !== this.#definition) {
      this.#definition = definition;
      this.#showChoice();
      this.#showWeights();
    }
    for (const [property, control] of this.#controls) this.#put(control, this.state.get("weights")[property] ?? control.first);
  }

  /** Show what an answer of /ranking says of the weights. */
  show(shown) {
    this.#showRanges(shown);
  }

  #showChoice() {
    const { name, description, where } = this.#definition;
    const choose = (event) => {
      // Weights, order and columns belong to the rules before.
      this.change({ definition: event.target.value, weights: {}, sort: "rank", descending: false, columns: [] }, { push: true });
      this.fromState();
      document.getElementById("definition").focus();
    };
    const options = this.book.documents.map((document) => h("option", { value: document.name, selected: document.name === name }, document.title));
    replace(this.places.choice,
      h("div", {}, h("label", { for: "definition" }, "Ranked as"), h("select", { id: "definition", on: { change: choose } }, options)),
      description && h("p", { class: "small muted" }, description),
      where && h("p", { class: "small muted" }, "Only candidates with ", h("code", {}, where), "."));
  }

  #showWeights() {
    this.#controls = new Map();
    const rows = this.#definition.criteria.map((criterion) => this.#weight(criterion));
    replace(this.places.weights, h("h3", { class: "visually-hidden" }, "Weights"), rows,
      h("button", { type: "button", class: "button", id: "reset-weights", on: { click: () => this.#reset() } }, "Reset the weights"));
  }

  #weight(criterion) {
    const { property: name } = criterion;
    const about = this.book.properties.find((property) => property.name === name) ?? { title: name, unit: "", digits: 2 };
    const id = newId("weight");
    const range = h("input", { type: "range", id, min: 0, max: Math.max(LARGEST, 2 * criterion.weight), step: 0.05, "aria-describedby": `${id}-wish ${id}-reach`,
      data: { weight: name }, on: { input: () => this.#moved(name, range.value) } });
    const field = h("input", { type: "number", min: 0, max: 1000, step: 0.05, inputmode: "decimal", "aria-label": `Weight of ${about.title.toLowerCase()} as a number`,
      on: { input: () => this.#moved(name, field.value) } });
    const band = h("span", { class: "band", "aria-hidden": "true" });
    const reach = h("p", { class: "small muted reach", id: `${id}-reach` });
    this.#controls.set(name, { range, field, band, reach, first: criterion.weight, title: about.title });
    return h("div", { class: "weight" },
      h("div", { class: "weight-head" }, h("label", { for: id }, about.title), field),
      h("div", { class: "weight-track" }, range, h("span", { class: "band-track", "aria-hidden": "true" }, band)),
      h("p", { class: "small muted", id: `${id}-wish` }, wishOf(criterion, about)), reach);
  }

  #moved(name, text) {
    const weight = Number(text);
    const control = this.#controls.get(name);
    const valid = String(text).trim() !== "" && Number.isFinite(weight) && weight >= 0 && weight <= 1000;
    control.field.setAttribute("aria-invalid", String(!valid));
    if (!valid) return;
    this.#put(control, weight, document.activeElement);
    const weights = { ...this.state.get("weights"), [name]: weight };
    if (weight === control.first) delete weights[name];
    if ([...this.#controls].every(([other, { first }]) => (weights[other] ?? first) === 0)) {
      replace(control.reach, "One criterion needs a weight above 0.");
      control.field.setAttribute("aria-invalid", "true");
      return;
    }
    this.change({ weights });
  }

  #put({ range, field }, weight, but = null) {
    range.value = weight;
    if (field !== but) field.value = weight;
    field.setAttribute("aria-invalid", "false");
  }

  #reset() {
    this.change({ weights: {} }, { push: true });
    this.fromState();
  }

  /** Show in which range of each weight the winner stays. */
  #showRanges(shown) {
    const changes = [];
    for (const [name, control] of this.#controls) {
      const found = shown.sensitivity.find((range) => range.property === name);
      replace(control.reach, found ? reachText(found) : null);
      control.band.parentElement.hidden = !found;
      if (!found) continue;
      const largest = Number(control.range.max);
      control.band.style.setProperty("left", `${Math.min(100, (100 * found.low) / largest)}%`);
      control.band.style.setProperty("right", `${Math.max(0, 100 - (100 * (found.high ?? largest)) / largest)}%`);
      if (found.winner_below) changes.push([control.title, "below", found.low, found.winner_below]);
      if (found.winner_above) changes.push([control.title, "above", found.high, found.winner_above]);
    }
    const winner = shown.rows.find((row) => row.rank === 1);
    replace(this.places.sensitivity, shown.sensitivity.length > 0 && [
      h("p", { class: "small sensitivity" }, h("span", { class: "band-key", "aria-hidden": "true" }),
        "While one weight moves within its green range, ", winner ? formula(winner.label) : "the winner", " stays first."),
      changes.length > 0 && h("details", { class: "small" }, h("summary", {}, "Who wins beyond"),
        h("ul", { class: "winners" }, changes.map(([title, side, weight, id]) => h("li", {}, `${title} ${side} ${number(weight)}: `, this.#named(id, shown))))),
    ]);
  }

  /** Return a link to a candidate, by its label if it is on this page of the list. */
  #named(id, shown) {
    const found = shown.rows.find((row) => row.candidate_id === id);
    const href = `candidate?id=${encodeURIComponent(id)}&definition=${encodeURIComponent(shown.definition.name)}`;
    return h("a", { href }, found ? formula(found.label) : id);
  }
}

function reachText({ low, high, winner_below: below, winner_above: above }) {
  const ends = [];
  if (below) ends.push(`falls below ${number(low)}`);
  if (above) ends.push(`rises above ${number(high)}`);
  return ends.length ? `The winner changes if it ${ends.join(" or ")}.` : "The winner is the same at any weight above 0.";
}

function wishOf(criterion, about) {
  const units = unit(about.unit);
  const value = (x) => `${String(x).replace("-", "−")}${units ? ` ${units}` : ""}`;
  const scale = criterion.transform === "log" ? ", on a logarithmic scale" : "";
  if (criterion.direction === "target") {
    const [low, high] = criterion.window;
    return `Between ${value(low)} and ${value(high)} is best${scale}.`;
  }
  const way = criterion.direction === "minimise" ? "Low" : "High";
  return `${way} is better: ${value(criterion.best)} scores 1, ${value(criterion.worst)} scores 0${scale}.`;
}
