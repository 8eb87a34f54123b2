// Where the numbers come from: a tree from each number to its jobs and what they took from others, and every job in full.

import { apiAddress, get, isAborted } from "../api.js";
import { h, replace } from "../dom.js";
import { counted, number, time, unit } from "../format.js";
import { emptyNotice, errorNotice, loadingNotice, sentenceOf } from "../notices.js";
import { facts, opened, section, table } from "../pieces.js";

const STATES = { completed: "good", failed: "bad", unfinished: "warning", unknown: "" };
const HEADLINE = [
  "band_gap",
  "migration_barrier",
  "formation_energy_per_atom",
  "formation_enthalpy_from_oxides_per_atom",
  "energy_above_hull",
  "interface_reaction_energy",
];

/** Return the section on provenance of a candidate; `title` gives the name of a property for people. */
export function provenanceSection(id, title) {
  const body = h("div", { class: "stack" }, loadingNotice("Tracing the numbers"));
  load(id, title, body);
  addEventListener("hashchange", openTarget);
  return section("provenance", "Provenance", body);
}

async function load(id, title, body) {
  try {
    const found = await get(`candidates/${encodeURIComponent(id)}/provenance`);
    replace(body, parts(found, title));
    openTarget();
  } catch (error) {
    if (!isAborted(error))
      replace(
        body,
        errorNotice(error, () => load(id, title, body)),
      );
  }
}

/** Open what the address points to, and all that it lies in. */
export function openTarget() {
  const name = nameInAddress(),
    target = name && document.getElementById(name);
  if (!target) return;
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView({ block: "start" });
  (target.tagName === "DETAILS" ? target.querySelector("summary") : null)?.focus({ preventScroll: true });
}

function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // such as #%: an address that was cut off
  }
}

function parts(found, title) {
  const jobs = new Map(found.jobs.map((job) => [job.uuid, job]));
  const isHeadline = (trace) => HEADLINE.includes(trace.property);
  const [headline, others] = [found.numbers.filter(isHeadline), found.numbers.filter((trace) => !isHeadline(trace))];
  if (!found.numbers.length) return emptyNotice("Nothing to trace", "No number of this candidate is stored yet.");
  return [
    found.origin &&
      h(
        "p",
        {},
        `Imported on ${time(found.origin.imported_on)} from the archive “${found.origin.title}” (${found.origin.file}), SHA-256 `,
        h("code", {}, found.origin.archive.slice(0, 16)),
        ".",
      ),
    found.missing.length > 0 && [
      h("h3", {}, "What is missing"),
      h(
        "ul",
        { class: "doubts" },
        found.missing.map((text) => h("li", {}, sentenceOf(text))),
      ),
    ],
    h("h3", {}, "From numbers to jobs"),
    h(
      "p",
      { class: "note" },
      "Open a number to see the jobs it was computed from, and those to see what they took from other jobs.",
    ),
    h(
      "ul",
      { class: "tree" },
      headline.map((trace) => numberItem(trace, jobs, title)),
    ),
    others.length > 0 &&
      opened(
        `${counted(others.length, "other number")}, single hops among them`,
        h(
          "ul",
          { class: "tree" },
          others.map((trace) => numberItem(trace, jobs, title)),
        ),
      ),
    opened(
      counted(found.jobs.length, "job"),
      found.jobs.map((job) => jobPart(job, jobs)),
    ),
    opened(counted(found.protocols.length, "protocol"), found.protocols.map(protocolPart)),
    found.references.length > 0 &&
      opened(counted(found.references.length, "reference phase"), referencesTable(found.references)),
    found.calibrations.length > 0 &&
      opened(counted(found.calibrations.length, "calibration"), found.calibrations.map(calibrationPart)),
    opened(
      "Versions of the codes",
      table(
        "Versions of the codes",
        [
          { title: "Code", text: true },
          { title: "Versions", text: true },
        ],
        Object.entries(found.versions).map(([name, versions]) => [name, versions.join(", ")]),
      ),
    ),
    h(
      "p",
      { class: "note" },
      h("a", { href: apiAddress(`candidates/${found.candidate_id}/provenance`).href }, "All of it in the API"),
    ),
  ];
}

function numberItem(trace, jobs, title) {
  const value =
    trace.value === null
      ? "no value"
      : typeof trace.value === "number"
        ? `${number(trace.value, 3)} ${unit(trace.unit)}`
        : "";
  return h(
    "li",
    {},
    h(
      "details",
      {},
      h("summary", {}, title(trace.property), value && h("span", { class: "muted" }, ` ${value}`)),
      trace.reason && h("p", { class: "warn" }, sentenceOf(trace.reason)),
      trace.method && h("p", { class: "note" }, sentenceOf(trace.method)),
      trace.plan_id && h("p", { class: "note" }, "Result ", h("code", {}, trace.plan_id)),
      h(
        "ul",
        { class: "tree" },
        trace.job_uuids.map((uuid) => jobItem(uuid, jobs, [])),
      ),
      trace.reference_job_uuids.length > 0 &&
        h(
          "details",
          {},
          h("summary", {}, `Relative to ${counted(trace.reference_job_uuids.length, "reference phase")}`),
          h(
            "ul",
            { class: "tree" },
            trace.reference_job_uuids.map((uuid) => jobItem(uuid, jobs, [])),
          ),
        ),
    ),
  );
}

/** Return a job as a branch of the tree; what it took from others is put in when it is opened. */
function jobItem(uuid, jobs, above) {
  const job = jobs.get(uuid),
    link = h("a", { href: `#job-${encodeURIComponent(uuid)}`, class: "job-link" }, uuid);
  if (!job) return h("li", {}, link, h("span", { class: "muted" }, " not in this store"));
  const line = [job.name, " ", stateChip(job), " ", link];
  // A job never needs itself; if a store says so, the tree must still end.
  const inputs = [...new Set(job.inputs.map((input) => input.job_uuid))].filter(
    (other) => !above.includes(other) && other !== uuid,
  );
  if (!inputs.length) return h("li", {}, line);
  const list = h("ul", { class: "tree" });
  const branch = h(
    "details",
    {
      on: {
        toggle: () =>
          branch.open &&
          !list.children.length &&
          list.append(...inputs.map((other) => jobItem(other, jobs, [...above, uuid]))),
      },
    },
    h("summary", {}, job.name, h("span", { class: "muted" }, ` from ${counted(inputs.length, "job")}`)),
    h("p", { class: "job-line" }, stateChip(job), " ", link),
    list,
  );
  return h("li", {}, branch);
}

const stateChip = (job) => h("span", { class: ["chip", STATES[job.state] ?? ""] }, job.state);

function jobPart(job, jobs) {
  const nameOf = (uuid) => jobs.get(uuid)?.name ?? "a job not in this store";
  return h(
    "details",
    { id: `job-${job.uuid}`, class: "job" },
    h("summary", {}, `${job.name} `, stateChip(job), h("span", { class: "muted job-uuid" }, ` ${job.uuid}`)),
    facts(
      [
        ["Step", job.step ?? "not recorded"],
        ["Finished", time(job.completed_at)],
        job.shipped_with && ["Computed before", `comes with ${job.shipped_with}`],
        ["Protocol", job.protocol ?? "none", job.protocol_hash],
        ["Function", job.function ?? "not recorded"],
        [
          "Codes",
          Object.entries(job.versions)
            .map(([name, version]) => `${name} ${version}`)
            .join(", ") || "not recorded",
        ],
      ].filter(Boolean),
    ),
    job.inputs.length > 0 && [
      h("h4", {}, "Took from"),
      h(
        "ul",
        { class: "plain-list" },
        job.inputs.map((input) =>
          h(
            "li",
            {},
            h("a", { href: `#job-${encodeURIComponent(input.job_uuid)}`, class: "job-link" }, nameOf(input.job_uuid)),
            input.attribute && [": ", h("code", {}, input.attribute)],
          ),
        ),
      ),
    ],
    Object.keys(job.settings).length > 0 && opened("Settings", json(job.settings)),
    Object.keys(job.arguments).length > 0 && opened("Arguments", json(job.arguments)),
    job.launches.length > 0 &&
      opened(
        `Attempts to run it: ${job.launches.length}`,
        table(
          "Attempts to run it",
          [
            { title: "Began", text: true },
            { title: "State", text: true },
            { title: "Machine", text: true },
            { title: "Wall time (s)" },
            { title: "Folder", text: true, wide: true },
          ],
          job.launches.map((launch) => [
            time(launch.started_at),
            launch.state,
            [launch.host, launch.worker, launch.scheduler_id].filter(Boolean).join(", ") || "–",
            number(launch.elapsed_s, 1),
            launch.folder ?? "–",
          ]),
        ),
      ),
    job.files.length > 0 &&
      opened(
        counted(job.files.length, "file"),
        table(
          "What it left",
          [
            { title: "Kind", text: true },
            { title: "Place", text: true, wide: true },
            { title: "Bytes" },
            { title: "There", text: true },
          ],
          job.files.map((file) => [
            file.kind,
            [file.host && `${file.host}: `, file.place],
            file.bytes ?? "–",
            file.present === null ? "not looked at" : file.present ? "yes" : "no",
          ]),
        ),
      ),
  );
}

const json = (content) => h("pre", { tabindex: "0" }, JSON.stringify(content, null, 2));

function protocolPart(protocol) {
  return h(
    "details",
    {},
    h("summary", {}, protocol.name, h("span", { class: "muted" }, ` ${protocol.hashes.join(", ")}`)),
    protocol.content?.purpose && h("p", {}, sentenceOf(protocol.content.purpose)),
    h(
      "p",
      { class: "note" },
      protocol.verified === true
        ? "Its content has these hashes."
        : protocol.verified === false
          ? "Its content does not have these hashes: it was changed since."
          : "Whether it is as it was cannot be told by the hash alone.",
    ),
    protocol.content === null ? h("p", { class: "warn" }, "Its content is not known.") : json(protocol.content),
  );
}

const referencesTable = (references) =>
  table(
    "Reference phases",
    [{ title: "Phase", text: true }, { title: "Energy (eV/atom)" }, { title: "Job", text: true }],
    references.map((of) => [
      of.phase,
      number(of.energy_per_atom, 3),
      h("a", { href: `#job-${encodeURIComponent(of.job_uuid)}`, class: "job-link" }, of.job_uuid.slice(0, 8)),
    ]),
  );

function calibrationPart(of) {
  return h(
    "div",
    { class: "stack" },
    h(
      "p",
      {},
      h("code", {}, of.calibration_id),
      ` corrects ${of.low_protocol} towards ${of.high_protocol}: `,
      `${of.model}, ${counted(of.n_points, "point")}, ${of.shipped ? "comes with hemiec" : `fitted on ${time(of.created_at)}`}.`,
    ),
  );
}
