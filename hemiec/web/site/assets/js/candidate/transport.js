// Ion transport: which barrier counts, how single hops scatter, the network that conducts, and diffusion over temperature.

import { h } from "../dom.js";
import { counted, interval, number } from "../format.js";
import { sentenceOf } from "../notices.js";
import { plainLabel } from "../plots.js";
import { facts, opened, section, table } from "../pieces.js";
import { axisTitle, faded, figure } from "./figures.js";
import { networkFigure } from "./network.js";
import { jobLink } from "./properties.js";
import { arrhenius, barrierCounts, hopsForMost } from "./transport_data.js";

/** Return the section on transport of a CandidateResult. */
export function transportSection(result) {
  const of = result.transport;
  return section(
    "transport",
    "Ion transport",
    of
      ? [
          overview(of),
          h(
            "div",
            { class: "figures" },
            barriersFigure(of),
            networkFigure(of),
            arrheniusFigure(of, result.dynamics),
            profilesFigure(result.hops),
          ),
          words(of),
        ]
      : h("p", { class: "warn" }, sentenceOf(result.migration_barrier.reason ?? "this result has no network of hops")),
    result.hops.length > 0 && [!of && profilesFigure(result.hops), hopsTable(result.hops)],
    result.dynamics && dynamicsPart(result.dynamics),
  );
}

function overview(of) {
  const barrier = of.effective_barrier,
    most = hopsForMost(of.hop_share);
  return [
    barrier.value === null && h("p", { class: "warn" }, `No effective barrier: ${barrier.reason}`),
    facts([
      [
        `Effective barrier of ${of.mobile}`,
        barrier.value === null ? "–" : `${number(barrier.value, 2)} eV`,
        barrier.interval
          ? `90 % interval ${interval(...barrier.interval, 2)}, at ${number(of.reference_temperature_K, 0)} K, uncorrected`
          : null,
      ],
      [
        "Median single hop",
        of.hop_barrier.value === null ? "–" : `${number(of.hop_barrier.value, 2)} eV`,
        of.hop_barrier.min === null
          ? null
          : `${interval(of.hop_barrier.min, of.hop_barrier.max, 2)} over ${counted(of.n_computed, "hop")}`,
      ],
      [
        "Hops computed",
        `${of.n_computed} of ${of.n_hops}`,
        of.n_failed ? `${of.n_failed} tried without a saddle` : null,
      ],
      [
        "Hops that limit the current",
        most === null ? "–" : `${most} of ${of.hop_share.length}`,
        "dissipate nine tenths of the power",
      ],
      ["Along x, y, z", of.effective_barriers_by_axis.map((x) => number(x, 2)).join(", "), "eV, effective"],
      ["To cross a, b, c", of.bottlenecks.map((x) => number(x, 2)).join(", "), "eV, lowest saddle that must be passed"],
      ["Correlation factor", number(of.correlation_factor, 2), "1 for uncorrelated hops"],
      [
        "Error of predicted saddles",
        of.saddle_model_error === null ? "–" : `${number(of.saddle_model_error, 3)} eV`,
        "cross-validated",
      ],
    ]),
  ];
}

function barriersFigure(of) {
  const counts = barrierCounts(of),
    middles = counts.computed.map((_, k) => (counts.edges[k] + counts.edges[k + 1]) / 2);
  const bars = (name, y, colour) => ({
    type: "bar",
    name,
    x: middles,
    y,
    width: counts.edges[1] - counts.edges[0],
    marker: { color: colour },
    hovertemplate: `%{y} ${name}<br>near %{x:.2f} eV<extra></extra>`,
  });
  const mark = (x, colour, dash) =>
    x === null
      ? []
      : [
          {
            type: "line",
            xref: "x",
            yref: "paper",
            x0: x,
            x1: x,
            y0: 0,
            y1: 1,
            line: { color: colour, width: 2, dash },
          },
        ];
  return figure({
    title: "Barriers of all hops, both directions",
    caption: [
      "Full colour: computed; faint: predicted from the surroundings. Solid line: effective barrier",
      of.effective_barrier.interval ? " with its 90 % interval" : "",
      "; dashed: median single hop. The potential’s own values, uncorrected.",
    ],
    make: (colours) => ({
      data: [
        bars("computed", counts.computed, colours.series[0]),
        bars("predicted", counts.predicted, faded(colours.series[0], 0.35)),
      ],
      layout: {
        barmode: "stack",
        bargap: 0,
        xaxis: { title: axisTitle("Barrier of a hop (eV)"), showgrid: false },
        yaxis: { title: axisTitle("Hops") },
        shapes: [
          ...(of.effective_barrier.interval
            ? [
                {
                  type: "rect",
                  xref: "x",
                  yref: "paper",
                  layer: "below",
                  x0: of.effective_barrier.interval[0],
                  x1: of.effective_barrier.interval[1],
                  y0: 0,
                  y1: 1,
                  line: { width: 0 },
                  fillcolor: faded(colours.series[1], 0.18),
                },
              ]
            : []),
          ...mark(of.effective_barrier.value, colours.series[1], "solid"),
          ...mark(of.hop_barrier.value, colours.text, "dash"),
        ],
      },
    }),
    table: table(
      "Barriers of all hops",
      [{ title: "Barrier (eV)", text: true }, { title: "Computed" }, { title: "Predicted" }],
      middles.map((_, k) => [
        `${number(counts.edges[k], 2)} to ${number(counts.edges[k + 1], 2)}`,
        counts.computed[k],
        counts.predicted[k],
      ]),
    ),
  });
}

function arrheniusFigure(of, dynamics) {
  const drawn = arrhenius(of, dynamics),
    seen = drawn.temperatures.map((_, k) => k).filter((k) => drawn.median[k] !== null);
  const x = seen.map((k) => 1000 / drawn.temperatures[k]),
    at = (key) => seen.map((k) => drawn[key][k]);
  const what = drawn.conductivity ? "log₁₀ σT (S K/cm)" : "log₁₀ D (cm²/s)";
  const banded = seen.length > 0 && seen.every((k) => drawn.low[k] !== null && drawn.high[k] !== null);
  const edge = (key, colours, fill) => ({
    type: "scatter",
    mode: "lines",
    x,
    y: at(key),
    line: { width: 0 },
    fill,
    fillcolor: faded(colours.series[0], 0.2),
    hoverinfo: "skip",
  });
  const carriers =
    of.carriers_per_formula_unit === null ? "" : ` (${number(of.carriers_per_formula_unit, 3)} per formula unit)`;
  return figure({
    title: drawn.conductivity ? "Conductivity over temperature" : "Diffusion over temperature",
    caption: [
      "Exact solution on the network: median and 90 % interval.",
      drawn.runs.length > 0 && " Squares: molecular dynamics; open triangles: upper bounds of it.",
      ` Carriers: `,
      sentenceOf(of.carriers_source + carriers),
    ],
    make: (colours) => ({
      data: [
        ...(banded ? [edge("low", colours), edge("high", colours, "tonexty")] : []),
        {
          type: "scatter",
          mode: "lines+markers",
          x,
          y: at("median"),
          cliponaxis: false,
          line: { color: colours.series[0], width: 2 },
          marker: { size: 6 },
          hoverinfo: "text",
          hovertext: seen.map((k) => `${drawn.temperatures[k]} K: ${bandText(drawn, k)}`),
        },
        {
          type: "scatter",
          mode: "markers",
          x: drawn.runs.map((run) => 1000 / run.temperature),
          y: drawn.runs.map((run) => run.y),
          cliponaxis: false,
          hoverinfo: "text",
          hovertext: drawn.runs.map((run) => plainLabel(run.text)),
          marker: {
            size: 9,
            color: colours.series[1],
            symbol: drawn.runs.map((run) => (run.bound ? "triangle-down-open" : "square")),
          },
          error_y: {
            type: "data",
            symmetric: false,
            array: drawn.runs.map((run) => run.above),
            arrayminus: drawn.runs.map((run) => run.below),
            color: colours.series[1],
            thickness: 1.2,
          },
        },
      ],
      layout: { xaxis: { title: axisTitle("1000 / T (1/K)") }, yaxis: { title: axisTitle(what) } },
    }),
    table: table(
      "Diffusion over temperature",
      [{ title: "T (K)", text: true }, { title: "log10 D (cm²/s)" }, { title: "log10 σ (S/cm)" }],
      drawn.temperatures.map((T, k) => [
        number(T, 0),
        bandText(of.log10_diffusivity, k),
        of.log10_conductivity ? bandText(of.log10_conductivity, k) : "–",
      ]),
    ),
  });
}

const bandText = (band, k) =>
  band.median[k] === null
    ? "–"
    : number(band.median[k], 2) +
      (band.low[k] === null || band.high[k] === null ? "" : ` [${number(band.low[k], 2)}, ${number(band.high[k], 2)}]`);

function words(of) {
  return [
    of.notes.map((note) => h("p", { class: "note" }, sentenceOf(note))),
    h("p", { class: "note" }, sentenceOf(of.method), " Sampling stopped: ", of.stopped, "."),
    failures("What failed", [
      ["Hop", of.hop_failures],
      ["Site", of.site_failures],
    ]),
  ];
}

function failures(title, groups) {
  const all = groups.flatMap(([kind, found]) =>
    Object.entries(found).map(([key, reason]) => h("li", {}, `${kind} ${key}: `, sentenceOf(reason))),
  );
  return all.length > 0 && opened(`${title}: ${counted(all.length, "attempt")}`, h("ul", { class: "plain-list" }, all));
}

/** Return the energy along each computed hop, one after the other. */
function profilesFigure(hops) {
  const known = hops.filter((hop) => hop.energies.length > 0 && hop.reaction_coordinate.length === hop.energies.length);
  if (!known.length) return null;
  const gap = 0.25 * Math.max(...known.map((hop) => hop.reaction_coordinate.at(-1)));
  let from = 0;
  const placed = known.map((hop) => {
    const start = from;
    from += hop.reaction_coordinate.at(-1) + gap;
    return {
      hop,
      x: hop.reaction_coordinate.map((s) => start + s),
      middle: start + hop.reaction_coordinate.at(-1) / 2,
    };
  });
  return figure({
    title: `Energy along ${counted(known.length, "hop")}`,
    caption:
      "From zero at the first site: minimum, saddle, minimum; one that starts elsewhere leaves from another minimum of its site. Dots are computed, lines guide the eye. Squares: DFT single points, where there are. The species around each hop are in the table.",
    make: (colours) => ({
      data: [
        ...placed.map(({ hop, x }) => ({
          type: "scatter",
          mode: "lines+markers",
          x,
          y: hop.energies,
          cliponaxis: false,
          line: { color: colours.series[0], width: 2, shape: "spline", smoothing: 0.6 },
          marker: { size: 6, color: colours.series[0] },
          hoverinfo: "text",
          hovertext: hop.energies.map(
            (energy) => `hop ${hop.hop}, ${plainLabel(hop.environment)}<br>${number(energy, 2)} eV`,
          ),
        })),
        ...placed
          .filter(({ hop, x }) => hop.dft_forward_barrier !== null && x.length === 3)
          .map(({ hop, x }) => ({
            type: "scatter",
            mode: "markers",
            x: x.slice(1),
            cliponaxis: false,
            y: [hop.dft_forward_barrier, hop.dft_forward_barrier - hop.dft_reverse_barrier],
            marker: { size: 8, symbol: "square", color: colours.series[1] },
            hoverinfo: "text",
            hovertext: [`DFT saddle, ${number(hop.dft_forward_barrier, 2)} eV`, "DFT, second site"],
          })),
      ],
      layout: {
        yaxis: { title: axisTitle("Energy (eV)"), zeroline: true, zerolinecolor: colours.line },
        xaxis: {
          title: axisTitle("Hop"),
          showgrid: false,
          tickvals: placed.map(({ middle }) => middle),
          ticktext: placed.map(({ hop }) => String(hop.hop)),
          nticks: null,
        },
      },
    }),
  });
}

function hopsTable(hops) {
  const dft = hops.some((hop) => hop.dft_job_uuid !== null);
  const columns = [
    { title: "Hop", text: true },
    { title: "Passes", text: true },
    { title: "Forward (eV)" },
    { title: "Reverse (eV)" },
    ...(dft ? [{ title: "DFT forward (eV)" }, { title: "DFT reverse (eV)" }] : []),
    { title: "Path (Å)" },
    { title: "Job", text: true },
    { title: "Note", text: true, wide: true },
  ];
  return opened(
    `${counted(hops.length, "hop")} as numbers`,
    table(
      "Hops that were computed",
      columns,
      hops.map((hop) => [
        String(hop.hop),
        hop.environment,
        number(hop.forward_barrier, 3),
        number(hop.reverse_barrier, 3),
        ...(dft ? [number(hop.dft_forward_barrier, 3), number(hop.dft_reverse_barrier, 3)] : []),
        number(hop.reaction_coordinate.at(-1), 2),
        jobLink(hop.job_uuid),
        hop.reason ?? hop.dft_reason ?? "",
      ]),
    ),
  );
}

function dynamicsPart(of) {
  const energy = of.activation_energy;
  return opened(
    "Molecular dynamics as a check",
    h(
      "p",
      {},
      "Activation energy of a vacancy’s D: ",
      energy.value === null
        ? h("span", { class: "warn-text" }, energy.reason)
        : `${number(energy.value, 2)} eV${energy.interval ? `, 90 % interval ${interval(...energy.interval, 2)}` : ""}`,
    ),
    h("p", { class: "note" }, sentenceOf(of.method)),
    table(
      "Runs of molecular dynamics",
      [
        { title: "T (K)", text: true },
        { title: "Time (ps)" },
        { title: "Hops" },
        { title: "D of a vacancy (cm²/s)" },
        { title: "D of an ion (cm²/s)" },
      ],
      of.points.map((point) => [
        number(point.temperature_K, 0),
        number(point.time_ps, 0),
        point.n_hops,
        diffusivity(point.vacancy_diffusivity, point.vacancy_upper_bound),
        diffusivity(point.tracer_diffusivity, point.tracer_upper_bound),
      ]),
    ),
    of.missing.map((reason) => h("p", { class: "warn" }, sentenceOf(reason))),
  );
}

const power = (value) => value.toExponential(1).replace("e-", "e−").replace("e+", "e");
const diffusivity = (found, bound) =>
  found.value !== null ? power(found.value) : bound !== null ? `below ${power(bound)}` : "–";
