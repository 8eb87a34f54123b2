// Figures: a title, a plot drawn when it comes near the screen, a caption, and the same numbers as a table to open.

import { h } from "../dom.js";
import { drawPlot, plainLabel } from "../plots.js";
import { sentenceOf } from "../notices.js";

const DRAWN_FROM_PX = 500;
const makers = new WeakMap();
const watch = new IntersectionObserver(
  (seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watch.unobserve(target);
      draw(target);
    }
  },
  { rootMargin: `${DRAWN_FROM_PX}px` },
);
addEventListener("beforeprint", () => document.querySelectorAll(".plot[aria-busy]").forEach(draw));

/**
 * Return a figure.
 *
 * @param {object} about
 * @param {string} about.title What it shows; read by screen readers for the plot.
 * @param {Node|string|Array} about.caption How to read it.
 * @param {function(object, number): {data: Array, layout: object}} about.make Traces and layout from the colours of the
 *   theme and the width in px.
 * @param {Node} [about.table] The same as numbers.
 * @param {string} [about.size] Class of its size: "wide", "tall".
 */
export function figure({ title, caption, make, table = null, size = "" }) {
  const plot = h("div", {
    class: "plot",
    role: "img",
    "aria-label": `${title}; the numbers are in the table below`,
    "aria-busy": "true",
  });
  makers.set(plot, make);
  watch.observe(plot);
  return h(
    "figure",
    { class: ["panel-figure", size] },
    h("h3", { class: "figure-title" }, title),
    plot,
    h("figcaption", {}, caption),
    table && h("details", {}, h("summary", {}, "As numbers"), table),
  );
}

async function draw(plot) {
  try {
    await drawPlot(plot, (colours) => compact(makers.get(plot)(colours, plot.clientWidth), colours));
  } catch (error) {
    plot.replaceChildren(h("p", { class: "muted" }, sentenceOf(`${error.message} The numbers are in the table`)));
  } finally {
    plot.removeAttribute("aria-busy");
  }
}

/** Return traces and layout as all figures of a candidate look: small, still, without zoom. */
function compact({ data, layout }, colours) {
  const axis = { fixedrange: true, zeroline: false, tickfont: { size: 11.5, color: colours.muted }, nticks: 6 };
  return {
    data,
    layout: {
      margin: { l: 54, r: 12, t: 10, b: 44 },
      hovermode: "closest",
      ...layout,
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    },
  };
}

/** Return the title of an axis. */
export const axisTitle = (text) => ({ text, standoff: 6, font: { size: 12.5 } });

/**
 * Return a formula for plotly, its amounts as subscripts of Unicode and all else as it is.
 *
 * plotly's own subscripts are inline styles, which the content-security policy refuses.
 */
export function formulaLabel(text) {
  const parts = String(text).split(/(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)/);
  return parts
    .map((part, order) => (order % 2 ? part.replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]) : plainLabel(part)))
    .join("");
}

/** Return a colour with an opacity, of a colour as #rrggbb. */
export function faded(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((from) => Number.parseInt(colour.slice(from, from + 2), 16));
  return `rgba(${r},${g},${b},${opacity})`;
}
