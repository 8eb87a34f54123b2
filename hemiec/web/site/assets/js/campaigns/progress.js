// How far a campaign has come: bars of states, kinds of jobs and candidates.

import { h, svg } from "../dom.js";
import { count, counted, formula, percent, time } from "../format.js";
import { sentenceOf } from "../notices.js";
import { table } from "../pieces.js";

/** States of jobs with their titles, in the order in which they are drawn. */
export const STATES = [
  ["done", "done"],
  ["running", "running"],
  ["ready", "ready"],
  ["waiting", "waiting"],
  ["paused", "paused"],
  ["cancelled", "cancelled"],
  ["failed", "failed"],
];

export const totalOf = (counts) => STATES.reduce((sum, [state]) => sum + (counts[state] ?? 0), 0);

/** Return whether nothing of a campaign will move by itself any more. */
export const isOver = (counts) => !counts.running && !counts.ready && !counts.waiting;

/** Return one sentence on a campaign, for people and screen readers. */
export function summaryOf(counts) {
  const total = totalOf(counts),
    others = STATES.slice(1)
      .filter(([state]) => counts[state] > 0)
      .map(([state, title]) => `${count(counts[state])} ${title}`);
  if (!total) return "no jobs in the queue: its candidates were imported, or nothing was submitted yet";
  return `${count(counts.done)} of ${counted(total, "job")} done${others.length ? `, ${others.join(", ")}` : ""}`;
}

/** Return the shares of the states as one bar. */
export function stateBar(counts, label) {
  const total = totalOf(counts);
  let from = 0;
  return svg(
    "svg",
    {
      class: "state-bar",
      viewBox: "0 0 100 8",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${label}: ${summaryOf(counts)}`,
    },
    svg("rect", { class: "none", x: 0, y: 0, width: 100, height: 8 }),
    STATES.filter(([state]) => counts[state] > 0).map(([state]) => {
      const width = (100 * counts[state]) / total,
        x = from;
      from += width;
      return svg("rect", { class: state, x, y: 0, width, height: 8 });
    }),
  );
}

/** Return the parts of one campaign's progress: counts, kinds and candidates. */
export function progressParts(found, page) {
  return [
    h(
      "div",
      { class: "stack" },
      stateBar(found.counts, found.name),
      h(
        "ul",
        { class: "legend" },
        STATES.filter(([state]) => found.counts[state] > 0).map(([state, title]) =>
          h(
            "li",
            {},
            h("span", { class: `swatch state-${state}`, "aria-hidden": "true" }),
            h("strong", {}, count(found.counts[state])),
            ` ${title}`,
          ),
        ),
      ),
      h("p", { class: "note" }, `Read ${time(found.updated_at)}.`),
    ),
    h("h3", {}, "By kind of job"),
    found.kinds.length ? kinds(found.kinds) : h("p", { class: "note" }, "There are none."),
    h(
      "h3",
      {},
      `${counted(found.n_candidates, "candidate")}${found.candidates.some((row) => row.failed || row.running) ? ", those with running or failed jobs first" : ""}`,
    ),
    found.candidates.length
      ? [candidates(found.candidates), page(found)]
      : h("p", { class: "note" }, "There are none on this page."),
  ];
}

const kinds = (rows) =>
  table(
    "Jobs by kind",
    [
      { title: "Kind", text: true },
      { title: "Protocol", text: true },
      { title: "Progress", text: true },
      ...STATES.filter(([state]) => state === "done" || rows.some((row) => row[state] > 0)).map(([, title]) => ({
        title,
      })),
      { title: "in all" },
    ],
    rows.map((row) => [
      row.kind,
      row.protocol ?? "–",
      stateBar(row, row.kind),
      ...STATES.filter(([state]) => state === "done" || rows.some((other) => other[state] > 0)).map(([state]) =>
        count(row[state]),
      ),
      count(row.total),
    ]),
  );

const candidates = (rows) =>
  table(
    "Candidates of the campaign",
    [
      { title: "Candidate", text: true },
      { title: "Progress", text: true },
      { title: "Done" },
      { title: "Running" },
      { title: "Failed" },
      { title: "Note", text: true, wide: true },
    ],
    rows.map((row) => [
      h("a", { href: `candidate?id=${encodeURIComponent(row.candidate_id)}` }, formula(row.label)),
      stateBar(
        {
          done: row.done,
          running: row.running,
          failed: row.failed,
          waiting: Math.max(row.total - row.done - row.running - row.failed, 0),
        },
        row.label,
      ),
      row.total ? `${count(row.done)} of ${count(row.total)} (${percent(row.done / row.total)})` : "–",
      count(row.running),
      row.failed ? h("span", { class: "chip bad" }, count(row.failed)) : count(row.failed),
      row.stopped ? sentenceOf(row.stopped) : "",
    ]),
  );
