// Filters by a condition of the query language and by campaign.

import { get, isAborted } from "../api.js";
import { h, replace } from "../dom.js";
import { unit } from "../format.js";
import { errorNotice, sentenceOf } from "../notices.js";

const EXAMPLES = [
  ["gap below 1 eV, with cobalt", "band_gap < 1.0 and has(Co)"],
  ["close to the hull", "energy_above_hull < 0.05"],
  ["no lead, five species on A", "not has(Pb) and n_species(A) >= 5"],
  ["barrier certain to be low", "barrier + barrier.std < 0.5"],
  ["not computed yet", "missing(migration_barrier)"],
];

/** The field for a condition, with the server's word on what is wrong with it. */
export class ConditionFilter {
  constructor(place, { state, change }) {
    Object.assign(this, { state, change });
    this.error = h("p", { class: "field-error", id: "condition-error", role: "alert", hidden: true });
    this.field = h("textarea", { id: "where", rows: 2, maxlength: 1500, spellcheck: "false", autocapitalize: "off", autocomplete: "off",
      "aria-describedby": "condition-error condition-help", placeholder: "band_gap < 1.0 and has(Co)",
      on: { keydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey) return;
        event.preventDefault();
        this.#apply();
      } } });
    this.field.value = state.get("where");
    const form = h("form", { class: "stack tight", on: { submit: (event) => {
      event.preventDefault();
      this.#apply();
    } } },
      h("label", { for: "where" }, "Condition"), this.field, this.error,
      h("p", { id: "condition-help", class: "small muted" }, "Enter applies it. Names, units and functions are those of ", h("code", {}, "hemiec query"), "."),
      h("div", { class: "row" }, h("button", { type: "submit", class: "button primary" }, "Apply"),
        h("button", { type: "button", class: "button", on: { click: () => this.#put("") } }, "Clear")));
    replace(place, form, this.#examples(), this.#fields());
  }

  /** Show the server's error at the field; null takes it away. */
  showError(error) {
    this.error.hidden = error === null;
    this.field.setAttribute("aria-invalid", String(error !== null));
    if (error === null) replace(this.error);
    else replace(this.error, sentenceOf(error.message.replace(/^query: */, "")), error.mend && [" ", sentenceOf(error.mend)]);
  }

  fromState() {
    this.field.value = this.state.get("where");
    this.showError(null);
  }

  #apply() {
    this.change({ where: this.field.value.trim() }, { push: true });
  }

  #put(text) {
    this.field.value = text;
    this.#apply();
  }

  #examples() {
    return h("details", { class: "small" }, h("summary", {}, "Examples"),
      h("ul", { class: "examples" }, EXAMPLES.map(([what, text]) => h("li", {},
        h("button", { type: "button", class: "button link", on: { click: () => this.#put(text) } }, h("code", {}, text)), h("span", { class: "muted" }, ` ${what}`)))));
  }

  #fields() {
    const list = h("div", { class: "fields" });
    const search = h("input", { type: "search", id: "field-search", autocomplete: "off", on: { input: () => show() } });
    let known = null;
    const show = () => {
      if (!known) return;
      const wanted = search.value.trim().toLowerCase();
      const found = known.fields.filter((field) => `${field.name} ${field.description}`.toLowerCase().includes(wanted));
      replace(list, found.length === 0 && h("p", { class: "muted" }, "No field has that in its name or description."),
        h("ul", {}, found.map((field) => h("li", {},
          h("button", { type: "button", class: "button link", on: { click: () => this.#insert(field.name) } }, h("code", {}, field.name)),
          h("span", { class: "muted" }, ` ${[unit(field.unit), field.description].filter(Boolean).join(" · ")}`)))),
        h("p", { class: "muted" }, "Functions: ", known.functions.map((text, order) => [order > 0 && ", ", h("code", {}, text)])));
    };
    const open = async (event) => {
      if (!event.target.open || known) return;
      try {
        known = await get("fields");
        show();
      } catch (error) {
        if (!isAborted(error)) replace(list, errorNotice(error));
      }
    };
    return h("details", { class: "small", on: { toggle: open } }, h("summary", {}, "Fields"),
      h("label", { for: "field-search" }, "Search the fields"), search, list);
  }

  #insert(name) {
    const { selectionStart: start, selectionEnd: end } = this.field;
    this.field.setRangeText(name, start, end, "end");
    this.field.focus();
  }
}

/** The choice of a campaign; it is filled in when the server has listed them. */
export class CampaignFilter {
  constructor(place, { state, change }) {
    Object.assign(this, { place, state, change });
    this.choice = h("select", { id: "campaign", on: { change: (event) => change({ campaign: event.target.value }, { push: true }) } });
    this.#load();
  }

  fromState() {
    this.choice.value = this.state.get("campaign");
  }

  async #load() {
    try {
      const { documents } = await get("campaigns", { limit: 1000 });
      const names = [...new Set([...documents.map((campaign) => campaign.name), this.state.get("campaign")].filter(Boolean))];
      replace(this.choice, h("option", { value: "" }, "all campaigns"), names.map((name) => h("option", { value: name }, name)));
      this.fromState();
      replace(this.place, h("label", { for: "campaign" }, "Campaign"), this.choice);
    } catch (error) {
      if (!isAborted(error)) replace(this.place, errorNotice(error, () => this.#load()));
    }
  }
}
