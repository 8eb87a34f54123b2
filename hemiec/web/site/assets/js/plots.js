// Plots: plotly, loaded when the first one is drawn, in the colours of the theme.

import { colour, onTheme } from "./theme.js";

const VENDOR = new URL("../vendor/", import.meta.url);
//: The bundle carries the styles of a map library as a style element of this id, which the content-security policy
//: refuses and no plot here needs; it makes none where the id is taken.
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
const loaded = new Map();

// One listener for all plots of the page: those that are gone are let go.
onTheme(() => document.querySelectorAll(".js-plotly-plot").forEach((element) => element.redraw?.()));

/** Load a script of the vendor folder once; fulfilled when it has run. */
export function loadVendored(name) {
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(name, VENDOR).href;
      script.addEventListener("load", () => resolve());
      script.addEventListener("error", () => {
        loaded.delete(name);
        script.remove();
        reject(new Error(`The file ${name} of this page could not be loaded. Reload the page.`));
      });
      document.head.append(script);
    }));
  }
  return loaded.get(name);
}

/**
 * Draw a plot into an element, or draw it anew; it keeps to the theme from then on.
 *
 * @param {HTMLElement} element Where; its size is the plot's.
 * @param {function(object): {data: Array, layout: object}} make Returns traces and layout from the theme's colours:
 *   {text, muted, line, surface, accent, series: [...]}.
 * @param {object} [config] Of plotly, beside the usual one.
 * @returns {Promise<object>} plotly, to listen to events or to change the plot.
 */
export async function drawPlot(element, make, config = {}) {
  await loadPlotly();
  const draw = () => {
    const colours = plotColours();
    const { data, layout } = make(colours);
    return globalThis.Plotly.react(element, data, { ...baseLayout(colours), ...layout,
      xaxis: { ...axis(colours), ...layout.xaxis }, yaxis: { ...axis(colours), ...layout.yaxis } },
      { responsive: true, displaylogo: false, displayModeBar: false, ...config });
  };
  element.redraw = draw;
  await draw();
  return globalThis.Plotly;
}

/**
 * Return a colour of the theme, given as #rrggbb, that lets through what is below it.
 *
 * For many points: an opacity of their own makes each a layer of the page, and every later change of the page slow.
 */
export function seeThrough(hex, share) {
  const parts = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${parts.join(", ")}, ${share})`;
}

/** Return plotly. */
export async function loadPlotly() {
  if (!document.getElementById(MAP_STYLES)) {
    const taken = document.createElement("meta");
    taken.id = MAP_STYLES;
    document.head.append(taken);
  }
  await loadVendored("plotly-basic.min.js");
  return globalThis.Plotly;
}

/** Return the colours of the theme for drawings. */
export function plotColours() {
  const names = ["text", "muted", "line", "surface", "accent", "warning"];
  const found = Object.fromEntries(names.map((name) => [name, colour(name)]));
  return { ...found, series: [1, 2, 3, 4, 5, 6].map((order) => colour(`series-${order}`)) };
}

/** Return text for plotly, which reads some HTML in labels: what could be a tag or an entity is plain. */
export function plainLabel(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function baseLayout(colours) {
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colours.text },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 60, r: 16, t: 12, b: 48 },
    hoverlabel: { bgcolor: colours.surface, bordercolor: colours.line, font: { color: colours.text } },
    showlegend: false,
  };
}

function axis(colours) {
  return { gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.muted, ticks: "outside",
    tickcolor: colours.muted, automargin: true };
}
