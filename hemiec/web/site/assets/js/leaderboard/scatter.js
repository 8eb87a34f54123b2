// Two properties of the candidates against each other; a region of the plot, or four numbers, filter the list.

import { get, isAborted, Latest } from "../api.js";
import { h, replace } from "../dom.js";
import { count, interval, number, unit } from "../format.js";
import { emptyNotice, errorNotice, loadingNotice, sentenceOf } from "../notices.js";
import { drawPlot, plainLabel, seeThrough } from "../plots.js";
import { cornersOf, isBrushed, lassoOf, NO_BRUSH, short } from "./brush.js";

const POINTS = 1_500;
/** More error bars than these hide the points. */
const MAX_BARS = 60;
const DRAGS = { select: "box", lasso: "outline", zoom: "zoom" };

/** The scatter with its axes, its ranges and its plot. */
export class Scatter {
  #answer = null;
  #asked = "";
  #latest = new Latest();
  #drag = "select";
  #seen = false;
  #listening = false;

  constructor(place, { state, change, book, question }) {
    Object.assign(this, { place, state, change, book, question });
    this.plot = h("div", { class: "plot", role: "img", "aria-labelledby": "scatter-said" });
    this.box = h("div", {});
    this.note = h("p", { class: "small muted", id: "scatter-said" });
    this.axes = { x: this.#axis("x", "Right"), y: this.#axis("y", "Up") };
    place.append(
      h("div", { class: "row scatter-controls" }, this.#axisChoice("x", "Right"), this.#axisChoice("y", "Up"), this.#dragChoice()),
      this.#ranges(), h("figure", {}, this.box, h("figcaption", {}, this.note)));
    // It is asked for, and plotly loaded, only when it comes into sight.
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.#seen = true;
      this.load();
    }, { rootMargin: "200px" }).observe(place);
  }

  /** Take axes and ranges from the state; axes that it does not name are the first criteria of the rules. */
  fromState() {
    for (const axis of ["x", "y"]) this.axes[axis].value = this.#name(axis);
    for (const [name, field] of Object.entries(this.fields)) field.value = this.state.get(name) ?? "";
    if (this.#answer) this.#draw();
  }

  /** Ask for the points, if the plot has been seen and the question is another one. */
  async load() {
    if (!this.#seen) return;
    const parameters = { ...this.question({ brushed: false }), x: this.#name("x"), y: this.#name("y"), limit: POINTS };
    const asked = JSON.stringify(parameters);
    if (asked === this.#asked) return;
    if (!this.#answer) replace(this.box, loadingNotice("Asking for the points"));
    try {
      this.#answer = await get("ranking/points", parameters, { signal: this.#latest.next() });
      this.#asked = asked;
    } catch (error) {
      if (isAborted(error)) return;
      this.#answer = null;
      replace(this.note);
      replace(this.box, errorNotice(error, () => this.load()));
      return;
    }
    await this.#draw();
  }

  /** Return the property of an axis: that of the state, else the first or second criterion of the rules. */
  #name(axis) {
    const rules = this.book.documents.find((one) => one.name === this.state.get("definition")) ?? this.book.documents[0];
    const known = this.book.properties.map((property) => property.name);
    const [first, second] = new Set([...rules.criteria.map((criterion) => criterion.property), ...known]);
    const chosen = this.state.get(axis);
    return known.includes(chosen) ? chosen : { x: first, y: second }[axis];
  }

  #property(axis) {
    return this.book.properties.find((property) => property.name === this.#name(axis));
  }

  #axis(name) {
    return h("select", { id: `axis-${name}`, on: { change: (event) => {
      // A region belongs to the axes it was drawn on.
      this.change({ [name]: event.target.value, ...NO_BRUSH }, { push: true });
      this.load();
    } } }, this.book.properties.map((property) => h("option", { value: property.name }, property.title)));
  }

  #axisChoice(name, title) {
    return h("div", {}, h("label", { for: `axis-${name}` }, `${title}`), this.axes[name]);
  }

  #dragChoice() {
    const choices = Object.entries(DRAGS).map(([drag, title]) => h("label", { class: "check" },
      h("input", { type: "radio", name: "drag", value: drag, checked: drag === this.#drag, on: { change: () => {
        this.#drag = drag;
        if (this.#answer) this.#draw();
      } } }), title));
    return h("fieldset", { class: "drags" }, h("legend", {}, "Drag in the plot to"), h("div", { class: "row" }, choices));
  }

  #ranges() {
    const field = (name, title) => h("input", { type: "number", step: "any", id: `range-${name}`, inputmode: "decimal", "aria-label": title });
    this.fields = { xmin: field("xmin", "Smallest value to the right"), xmax: field("xmax", "Largest value to the right"),
      ymin: field("ymin", "Smallest value upwards"), ymax: field("ymax", "Largest value upwards") };
    const { xmin, xmax, ymin, ymax } = this.fields;
    return h("form", { class: "row ranges", "aria-label": "Ranges of the two properties", on: { submit: (event) => {
      event.preventDefault();
      this.#filter({ ...NO_BRUSH, ...Object.fromEntries(Object.entries(this.fields).map(([name, one]) => [name, one.value === "" ? null : Number(one.value)])) });
    } } },
      h("span", { class: "row" }, h("span", { class: "label" }, "Right"), xmin, "to", xmax),
      h("span", { class: "row" }, h("span", { class: "label" }, "Up"), ymin, "to", ymax),
      h("button", { type: "submit", class: "button" }, "Filter the list"),
      h("button", { type: "button", class: "button", id: "clear-brush", on: { click: () => this.#filter(NO_BRUSH) } }, "Clear"));
  }

  #filter(brush) {
    // The address names the axes that a region belongs to.
    const axes = isBrushed(brush) ? { x: this.#name("x"), y: this.#name("y") } : {};
    this.change({ ...axes, ...brush }, { push: true });
    this.fromState();
  }

  async #draw() {
    const { points, n_found: found, n_shown: shown, how } = this.#answer;
    if (shown === 0) {
      replace(this.note);
      replace(this.box, emptyNotice("No points", "No candidate under the filter has both values."));
      return;
    }
    const front = points.front.filter(Boolean).length;
    replace(this.note, sentenceOf(how), shown < found && ` ${count(shown)} of ${count(found)} are shown.`,
      ` ${count(front)} on the Pareto front of these two (diamonds). `,
      isBrushed(this.state.all()) ? "The marked region filters the list." : "Drag a region, or type its ranges, to filter the list.");
    if (!this.plot.isConnected) replace(this.box, this.plot);
    try {
      await drawPlot(this.plot, (colours) => ({ data: this.#traces(points, colours), layout: this.#layout(colours) }));
    } catch (error) {
      replace(this.box, errorNotice(error, () => this.#draw()));
      return;
    }
    if (this.#listening) return;
    this.#listening = true;
    this.plot.on("plotly_selected", (event) => event && this.#selected(event));
    this.plot.on("plotly_click", (event) => this.#open(event.points[0]));
  }

  #traces(points, colours) {
    const rows = points.x.map((_, order) => order);
    const marked = new Set(this.state.get("ids"));
    const winner = rows.filter((k) => points.rank[k] === 1);
    const front = rows.filter((k) => points.front[k]).sort((a, b) => points.x[a] - points.x[b]);
    const bars = rows.length <= MAX_BARS;
    const text = (k) => `${plainLabel(points.label[k])}<br>${points.rank[k] ? `rank ${count(points.rank[k])}` : "not ranked"}` +
      ["x", "y"].map((axis) => this.#said(axis, points, k)).join("");
    const trace = (name, chosen, about) => ({ type: "scatter", mode: "markers", name, x: chosen.map((k) => points.x[k]), y: chosen.map((k) => points.y[k]),
      customdata: chosen.map((k) => points.candidate_id[k]), text: chosen.map(text), hoverinfo: "text", ...about });
    const errors = (axis) => ({ type: "data", symmetric: false, thickness: 1, width: 0, color: colours.muted,
      array: rows.map((k) => reach(points[`${axis}_high`][k], points[axis][k])), arrayminus: rows.map((k) => reach(points[axis][k], points[`${axis}_low`][k])) });
    return [
      trace("candidates", rows, { marker: { size: rows.length > 500 ? 5 : 8, color: seeThrough(colours.accent, rows.length > 500 ? 0.45 : 0.75) },
        ...(bars ? { error_x: errors("x"), error_y: errors("y") } : {}), unselected: { marker: { color: seeThrough(colours.accent, 0.2) } } }),
      trace("Pareto front", front, { marker: { size: 10, symbol: "diamond", color: colours.series[1], line: { width: 1, color: colours.surface } } }),
      trace("to compare", rows.filter((k) => marked.has(points.candidate_id[k])), { marker: { size: 16, symbol: "circle-open", color: colours.text, line: { width: 2 } } }),
      trace("first", winner, { mode: "markers+text", marker: { size: 15, symbol: "star", color: colours.series[2], line: { width: 1, color: colours.surface } },
        texttemplate: winner.map(() => "first"), textposition: "top center" }),
    ];
  }

  #said(axis, points, k) {
    const about = this.#property(axis);
    const low = points[`${axis}_low`][k];
    const range = low === null ? "" : ` (${interval(low, points[`${axis}_high`][k], about.digits)})`;
    return `<br>${plainLabel(about.title)} ${number(points[axis][k], about.digits)}${range} ${plainLabel(unit(about.unit))}`;
  }

  #layout(colours) {
    const title = (axis) => {
      const { title: name, unit: units } = this.#property(axis);
      return { text: plainLabel(unit(units) ? `${name} / ${unit(units)}` : name) };
    };
    const now = this.state.all();
    const fill = { fillcolor: colours.accent, opacity: 0.12, line: { color: colours.accent, width: 1 }, layer: "below" };
    const corners = cornersOf(now.lasso);
    const shapes = [];
    if (corners.length > 2) shapes.push({ type: "path", path: `M${corners.map((corner) => corner.join(",")).join("L")}Z`, ...fill });
    else if (isBrushed(now)) shapes.push({ type: "rect", ...boxOf(now, this.#answer.points), ...fill });
    return { dragmode: this.#drag, hovermode: "closest", shapes, selections: [], xaxis: { title: title("x") }, yaxis: { title: title("y") },
      uirevision: `${this.#name("x")} ${this.#name("y")}`, selectionrevision: Math.random() };
  }

  #selected({ range, lassoPoints }) {
    if (range) {
      const [xs, ys] = [range.x, range.y].map((ends) => ends.map(short).sort((a, b) => a - b));
      this.#filter({ ...NO_BRUSH, xmin: xs[0], xmax: xs[1], ymin: ys[0], ymax: ys[1] });
    } else if (lassoPoints) {
      this.#filter({ ...NO_BRUSH, lasso: lassoOf(lassoPoints.x, lassoPoints.y) });
    }
  }

  #open(point) {
    const definition = this.state.get("definition");
    location.href = `candidate?id=${encodeURIComponent(point.customdata)}${definition ? `&definition=${encodeURIComponent(definition)}` : ""}`;
  }
}

/** Return the rectangle of the ranges; an open end is that of the points. */
function boxOf({ xmin, xmax, ymin, ymax }, { x, y }) {
  const least = (values) => values.reduce((a, b) => Math.min(a, b));
  const most = (values) => values.reduce((a, b) => Math.max(a, b));
  return { x0: xmin ?? least(x), x1: xmax ?? most(x), y0: ymin ?? least(y), y1: ymax ?? most(y) };
}

function reach(high, low) {
  return high === null || low === null ? 0 : Math.max(0, high - low);
}
