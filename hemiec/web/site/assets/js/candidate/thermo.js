// Stability: what a candidate decomposes to, temperature, oxygen, windows of potential, and reactions with its neighbours.

import { h } from "../dom.js";
import { counted, formula, interval, number, percent, unit } from "../format.js";
import { sentenceOf } from "../notices.js";
import { facts, opened, products, section, table } from "../pieces.js";
import { axisTitle, faded, figure, formulaLabel } from "./figures.js";
import {
  airPressure,
  curveName,
  inOrder,
  oxygenCurves,
  rangeText,
  verdict,
  windowEnds,
  worstProducts,
} from "./thermo_data.js";

const PARTS = {
  hull: "energy above the hull",
  entropy: "temperature of stabilisation",
  oxygen: "oxygen deficiency",
  windows: "windows of chemical potential",
  interfaces: "interface reactions",
};

/** Return the sections on thermodynamics of a CandidateResult. */
export function thermoSections(result) {
  const of = result.thermodynamics;
  if (!of)
    return [
      section(
        "stability",
        "Stability",
        h(
          "p",
          { class: "warn" },
          sentenceOf(result.energy_above_hull.reason ?? "this result has no relaxed cell, so no thermodynamics"),
        ),
      ),
    ];
  const missing = (part) =>
    of.reasons[part] &&
    h("p", { class: "warn" }, `${PARTS[part][0].toUpperCase()}${PARTS[part].slice(1)}: `, sentenceOf(of.reasons[part]));
  return [
    section(
      "stability",
      "Stability",
      of.hull && hullFacts(of, result),
      missing("hull"),
      missing("entropy"),
      h(
        "div",
        { class: "figures" },
        of.hull && decompositionFigure(of.hull),
        of.entropy && temperatureFigure(of.entropy),
      ),
    ),
    section("oxygen", "Oxygen", missing("oxygen"), of.oxygen && oxygenPart(of.oxygen)),
    section(
      "windows",
      "Windows of potential",
      missing("windows"),
      of.windows.length > 0
        ? windowsPart(of.windows)
        : !of.reasons.windows && h("p", { class: "note" }, "None was computed."),
    ),
    section(
      "interfaces",
      "Interface reactions",
      missing("interfaces"),
      of.interfaces.length > 0
        ? interfacesPart(of)
        : !of.reasons.interfaces && h("p", { class: "note" }, "None was computed."),
    ),
  ];
}

const quantity = (found) =>
  found.value === null
    ? ["–", found.reason]
    : [
        `${number(found.value, 3)} ${unit(found.unit)}`,
        found.interval ? `90 % interval ${interval(...found.interval, 3)}` : null,
      ];

function hullFacts(of, result) {
  const hull = of.hull;
  return [
    facts([
      ["Above the hull", ...quantity(hull.energy_above_hull)],
      ["Above ordered perovskites", ...quantity(hull.energy_above_ordered)],
      ["Above other compositions", `${number(hull.energy_above_other_compositions, 3)} eV/atom`],
      of.entropy && ["Stable", verdict(of.entropy)],
      ["Hull of", `${hull.n_phases} phases`, hull.chemsys],
    ]),
    h("p", {}, "Decomposes to ", products(hull.decomposition, percent), "."),
    hull.ordered.length > 0 && h("p", {}, "Ordered perovskites of its cations: ", products(hull.ordered, percent), "."),
    result.oxide_reaction &&
      h("p", { class: "note" }, "From oxides: ", formula(result.oxide_reaction.replaceAll("->", "→"))),
  ];
}

function decompositionFigure(hull) {
  const bars = [
    [hull.decomposition, 0],
    [hull.ordered, 1],
  ].flatMap(([phases, series]) =>
    [...phases].sort((p, q) => q.amount - p.amount).map((phase) => ({ ...phase, series })),
  );
  return figure({
    title: "Products of decomposition",
    caption:
      hull.ordered.length > 0
        ? "Share of the atoms. Blue: on the hull; orange: ordered perovskites of the same cations."
        : "Share of the atoms, on the hull. No ordered perovskites of its cations are known.",
    make: (colours) => ({
      data: [
        {
          type: "bar",
          orientation: "h",
          x: bars.map((bar) => 100 * bar.amount),
          y: bars.map((_, k) => k),
          width: 0.7,
          marker: { color: bars.map((bar) => colours.series[bar.series]) },
          text: bars.map((bar) => number(100 * bar.amount, 0)),
          textposition: "outside",
          cliponaxis: false,
          hoverinfo: "text",
          hovertext: bars.map((bar) => `${formulaLabel(bar.formula)}: ${number(100 * bar.amount, 1)} %`),
        },
      ],
      layout: {
        xaxis: {
          title: axisTitle("Share of the atoms (%)"),
          range: [Math.min(0, 130 * Math.min(0, ...bars.map((bar) => bar.amount))), 112],
        },
        yaxis: {
          autorange: "reversed",
          showgrid: false,
          tickvals: bars.map((_, k) => k),
          ticktext: bars.map((bar) => formulaLabel(bar.formula)),
          nticks: null,
        },
      },
    }),
    table: table(
      "Products of decomposition",
      [{ title: "Phase", text: true }, { title: "Share of the atoms" }, { title: "Of", text: true }],
      bars.map((bar) => [formula(bar.formula), percent(bar.amount), bar.series ? "ordered perovskites" : "the hull"]),
    ),
  });
}

function temperatureFigure(of) {
  const meV = (values) => values.map((x) => 1000 * x),
    T = of.temperatures_K,
    [from, to] = of.stabilised_interval_K;
  const edge = (y, colours, fill) => ({
    type: "scatter",
    mode: "lines",
    x: T,
    y: meV(y),
    line: { width: 0 },
    fill,
    fillcolor: faded(colours.series[0], 0.2),
    hoverinfo: "skip",
  });
  return figure({
    title: "Energy above the hull less T times entropy",
    caption: [
      `Below zero it is stable. ${verdict(of)[0].toUpperCase()}${verdict(of).slice(1)}. `,
      sentenceOf(of.method),
    ],
    make: (colours) => ({
      data: [
        ...(of.low && of.high ? [edge(of.low, colours), edge(of.high, colours, "tonexty")] : []),
        {
          type: "scatter",
          mode: "lines",
          x: T,
          y: meV(of.energy_above_hull),
          line: { color: colours.series[0], width: 2 },
          hovertemplate: "%{x:.0f} K: %{y:.1f} meV/atom<extra></extra>",
        },
        ...(from === null
          ? []
          : [
              {
                type: "scatter",
                mode: "lines",
                x: [from, to ?? T.at(-1)],
                y: [0, 0],
                line: { color: colours.series[1], width: 5 },
                opacity: 0.6,
                hoverinfo: "skip",
              },
            ]),
        ...(of.stabilised_above_K === null
          ? []
          : [
              {
                type: "scatter",
                mode: "markers",
                x: [of.stabilised_above_K],
                y: [0],
                marker: { size: 9, color: colours.series[1] },
                hovertemplate: "on the hull from %{x:.0f} K<extra></extra>",
              },
            ]),
      ],
      layout: {
        xaxis: { title: axisTitle("Temperature (K)") },
        yaxis: { title: axisTitle("Above the hull (meV/atom)"), zeroline: true, zerolinecolor: colours.text },
      },
    }),
    table: table(
      "Energy above the hull over temperature",
      [{ title: "T (K)", text: true }, { title: "meV/atom" }, { title: "90 % interval" }],
      T.map((t, k) => [
        number(t, 0),
        number(1000 * of.energy_above_hull[k], 1),
        of.low && of.high ? interval(1000 * of.low[k], 1000 * of.high[k], 1) : "–",
      ]),
    ),
  });
}

function oxygenPart(of) {
  const ends = of.delta_in_air_interval,
    energy = of.vacancy_energy;
  return [
    facts([
      [
        "δ in air",
        number(of.delta_in_air, 3),
        `${ends ? `90 % interval ${interval(...ends, 2)}, ` : ""}at ${number(of.air_temperature_K, 0)} K`,
      ],
      ["δ in air at 298 K", number(of.delta_in_air_at_298_K, 3), "in equilibrium, which cooling may not reach"],
      ["δ as computed", number(of.delta_assumed, 3), `from ${interval(...of.delta_bounds, 2)} possible`],
      [
        "Vacancy",
        energy.value === null ? "–" : `${number(energy.value, 2)} eV`,
        energy.value === null
          ? energy.reason
          : `${energy.interval ? `90 % interval ${interval(...energy.interval, 2)}, ` : ""}mean of ${of.site_energies.length} sites, against ½ O₂`,
      ],
    ]),
    h("p", {}, sentenceOf(of.feedback)),
    oxygenFigure(of),
    h("p", { class: "note" }, sentenceOf(of.method)),
  ];
}

function oxygenFigure(of) {
  const curves = oxygenCurves(of),
    n = Math.max(curves.length - 1, 1);
  return figure({
    title: "Oxygen deficiency over pressure",
    size: "wide",
    caption: "A curve per temperature, the hottest in full colour. Dotted: air; square: air at the temperature above.",
    make: (colours) => ({
      data: [
        ...curves.map((curve, k) => ({
          type: "scatter",
          mode: "lines",
          x: of.log10_pO2_bar,
          y: curve.delta,
          name: `${number(curve.temperature, 0)} K`,
          line: { width: 2, color: faded(colours.series[0], 0.25 + (0.75 * k) / n) },
          hoverinfo: "text",
          hovertext: curve.delta.map(
            (delta, i) =>
              `${number(curve.temperature, 0)} K, 10^${number(of.log10_pO2_bar[i], 1)} bar<br>δ ${number(delta, 3)}, mean B valence +${number(curve.valence[i], 2)}`,
          ),
        })),
        {
          type: "scatter",
          mode: "markers",
          x: [airPressure()],
          y: [of.delta_in_air],
          showlegend: false,
          marker: { symbol: "square", size: 9, color: colours.series[1] },
          hovertemplate: "air: δ %{y:.3f}<extra></extra>",
        },
      ],
      layout: {
        showlegend: true,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", font: { size: 11.5 } },
        margin: { l: 54, r: 12, t: 34, b: 44 },
        xaxis: { title: axisTitle("log₁₀ p(O₂) / bar") },
        yaxis: { title: axisTitle("δ per formula unit"), rangemode: "tozero" },
        shapes: [
          {
            type: "line",
            x0: airPressure(),
            x1: airPressure(),
            yref: "paper",
            y0: 0,
            y1: 1,
            line: { color: colours.muted, width: 1, dash: "dot" },
          },
        ],
      },
    }),
    table: table(
      "Oxygen deficiency",
      [{ title: "T (K)", text: true }, ...of.log10_pO2_bar.map((p) => ({ title: `10^${number(p, 1)} bar` }))],
      of.temperatures_K.map((T, row) => [number(T, 0), ...of.delta[row].map((x) => number(x, 3))]),
    ),
  });
}

function windowsPart(windows) {
  const pressure = (window) =>
    window.temperature_K === null
      ? null
      : `log₁₀ p(O₂)/bar ${rangeText(window.log10_pO2_low, window.log10_pO2_high, 1, number)} at ${number(window.temperature_K, 0)} K`;
  return [
    h(
      "p",
      { class: "note" },
      "Where it neither gives off nor takes up the element: lithium as a voltage against Li/Li⁺, others relative to the element. What was taken off is the energy above the hull, without which an unstable phase has no window.",
    ),
    table(
      "Windows of chemical potential",
      [
        { title: "Element", text: true },
        { title: "Window", text: true },
        { title: "Taken off (eV/atom)" },
        { title: "Products below the window", text: true, wide: true },
        { title: "Products above the window", text: true, wide: true },
      ],
      windows.map((window) => {
        const { low, high, unit: of, below, above } = windowEnds(window);
        return [
          window.element,
          [
            `${rangeText(low, high, 2, number)}${low === null && high === null ? "" : ` ${of}`}`,
            pressure(window) && h("div", { class: "muted" }, pressure(window)),
          ],
          number(window.driving_force, 3),
          products(below, percent),
          products(above, percent),
        ];
      }),
    ),
  ];
}

function interfacesPart(of) {
  const curves = inOrder(of.interfaces),
    worst = of.interface_reaction_energy,
    open = curves.filter((curve) => curve.open_element !== null);
  return [
    facts([["Worst solid electrolyte", ...quantity(worst)]]),
    interfacesFigure(curves),
    reactionsTable(
      "Interface reactions where they release most",
      curves.filter((curve) => curve.open_element === null),
    ),
    open.length > 0 &&
      opened(
        `${counted(open.length, "system")} open to a reservoir of Li or O`,
        reactionsTable("Systems open to a reservoir", open),
      ),
  ];
}

const reactionsTable = (caption, curves) =>
  table(
    caption,
    [
      { title: "With", text: true },
      { title: "Role", text: true },
      { title: "eV/atom" },
      { title: "By the contact" },
      { title: "Share" },
      { title: "Products there", text: true, wide: true },
    ],
    curves.map((curve) => [
      formula(curveName(curve, number)),
      curve.role,
      number(curve.reaction_energy, 3),
      number(curve.mutual_energy, 3),
      percent(curve.worst_fraction),
      worstProducts(curve).length ? products(worstProducts(curve), percent) : "no reaction",
    ]),
  );

function interfacesFigure(curves) {
  const closed = curves.filter((curve) => curve.open_element === null);
  return (
    closed.length > 0 &&
    figure({
      title: "Reaction energy with each partner",
      size: "wide",
      caption:
        "Closed systems, over the share of the candidate in the mixture. Kinks are where products change. Solid lines: electrolytes; dashed: electrodes. Systems open to a reservoir are in the table.",
      make: (colours, width) => ({
        data: closed.map((curve, k) => ({
          type: "scatter",
          mode: "lines+markers",
          name: formulaLabel(curve.partner),
          cliponaxis: false,
          x: curve.kinks.map((kink) => kink.fraction),
          y: curve.kinks.map((kink) => 1000 * kink.reaction_energy),
          line: {
            width: 2,
            color: colours.series[k % colours.series.length],
            dash: curve.role === "electrode" ? "dash" : "solid",
          },
          marker: { size: 5 },
          hoverinfo: "text",
          hovertext: curve.kinks.map(
            (kink) =>
              `${formulaLabel(curve.partner)}<br>${number(1000 * kink.reaction_energy, 0)} meV/atom at ${number(kink.fraction, 2)}<br>${kink.products.map((p) => formulaLabel(p.formula)).join(", ")}`,
          ),
        })),
        layout: {
          showlegend: true,
          legend: width < 560 ? { orientation: "h", y: -0.25, font: { size: 11 } } : { font: { size: 11.5 } },
          xaxis: { title: axisTitle("Share of the candidate, by atoms"), range: [0, 1] },
          yaxis: { title: axisTitle("Reaction energy (meV/atom)"), zeroline: true, zerolinecolor: colours.line },
        },
      }),
    })
  );
}
