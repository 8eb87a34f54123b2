// The band gap: the solution it is of, and what every magnetic start led to.

import { h } from "../dom.js";
import { number } from "../format.js";
import { sentenceOf } from "../notices.js";
import { facts, section, table } from "../pieces.js";
import { axisTitle, figure } from "./figures.js";
import { jobLink } from "./properties.js";
import { plainLabel } from "../plots.js";

/** Return the section on the electronic structure of a CandidateResult. */
export function electronicSection(result) {
  const of = result.electronic,
    starts = result.gap_starts;
  return section(
    "electronic",
    "Electronic structure",
    of
      ? solution(of, result.n_atoms)
      : h(
          "p",
          { class: "warn" },
          sentenceOf(result.band_gap.reason ?? "no calculation of a gap is stored with this result"),
        ),
    starts.length > 1 && startsFigure(starts),
    starts.length > 0 && [
      h("h3", {}, starts.length > 1 ? "Every magnetic start" : "The only magnetic start"),
      starts.length === 1 &&
        h(
          "p",
          { class: "warn" },
          "One start finds one magnetic solution; whether it is the ground state was not searched.",
        ),
      startsTable(starts),
    ],
  );
}

function solution(of) {
  return [
    facts([
      ["Kind", of.is_metal ? "metal, or the smearing hides the gap" : "gapped"],
      [
        "Fundamental gap",
        `${number(of.band_gap, 2)} eV`,
        of.direct_gap === null ? null : `direct ${number(of.direct_gap, 2)} eV`,
      ],
      ["Total moment", of.total_moment === null ? "–" : `${number(of.total_moment, 2)} μB`, "of the cell"],
      [
        "O 2p centre",
        of.oxygen_2p_center === null ? "–" : `${number(of.oxygen_2p_center, 2)} eV`,
        "from the Fermi level",
      ],
      [
        "States at the Fermi level",
        of.dos_at_fermi_level === null ? "–" : `${number(of.dos_at_fermi_level, 1)} /eV`,
        "per cell, both spins",
      ],
      [
        "k-points",
        of.kpoint_mesh.join(" × "),
        of.kpoint_check
          ? `${number(of.kpoint_check.band_gap, 2)} eV on ${of.kpoint_check.kpoint_mesh.join(" × ")}`
          : "not checked on a denser mesh",
      ],
    ]),
  ];
}

const nameOf = (start) => start.magnetic_start ?? "no spin";

function startsFigure(starts) {
  const known = starts.filter((start) => start.band_gap !== null && start.energy !== null),
    lowest = Math.min(...known.map((start) => start.energy));
  return figure({
    title: "Gap by magnetic start",
    caption:
      "The gap counts of the lowest solution (left). Solutions near in energy with other gaps make it uncertain.",
    make: (colours) => ({
      data: [
        {
          type: "scatter",
          mode: "markers+text",
          x: known.map((start) => 1000 * (start.energy - lowest)),
          y: known.map((start) => start.band_gap),
          cliponaxis: false,
          text: known.map((start) => plainLabel(nameOf(start))),
          textposition: "top center",
          textfont: { size: 11.5, color: colours.muted },
          marker: {
            size: 10,
            color: known.map((start) => (start.energy === lowest ? colours.series[1] : colours.series[0])),
          },
          hovertemplate: "%{text}<br>%{x:.0f} meV per cell above the lowest<br>gap %{y:.2f} eV<extra></extra>",
        },
      ],
      layout: {
        xaxis: { title: axisTitle("Above the lowest (meV per cell)"), rangemode: "tozero" },
        yaxis: { title: axisTitle("Gap (eV)"), rangemode: "tozero" },
      },
    }),
  });
}

function startsTable(starts) {
  const lowest = Math.min(...starts.map((start) => start.energy ?? Infinity));
  return table(
    "Magnetic starts of the gap calculation",
    [
      { title: "Start", text: true },
      { title: "Gap (eV)" },
      { title: "Above the lowest (eV per cell)" },
      { title: "Moment (μB)" },
      { title: "Job", text: true },
      { title: "Note", text: true, wide: true },
    ],
    starts.map((start) => [
      nameOf(start),
      number(start.band_gap, 2),
      start.energy === null ? "–" : number(start.energy - lowest, 3),
      number(start.total_moment, 2),
      jobLink(start.job_uuid),
      start.reason ?? "",
    ]),
  );
}
