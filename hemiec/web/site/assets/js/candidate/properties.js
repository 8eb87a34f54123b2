// The numbers that candidates are ranked by: value, interval, samples, method, calibration; or why there is none.

import { h } from "../dom.js";
import { counted, interval, number, unit } from "../format.js";
import { sentenceOf } from "../notices.js";
import { section } from "../pieces.js";

/** Methods with more letters than this are opened on demand. */
const LONG = 90;

/** Return the section on properties of a CandidateDoc; `known` has title and digits of each property. */
export function propertiesSection(candidate, known) {
  return section(
    "properties",
    "Properties",
    h(
      "p",
      { class: "note" },
      "The best available value of each: that of the most trusted result that has one. What has no interval counts as exact, unless a leaderboard states an uncertainty for it.",
    ),
    h(
      "div",
      { class: "properties" },
      known.map((property) => propertyCard(property, candidate[property.name])),
    ),
  );
}

function propertyCard(property, found) {
  const missing = found.value === null;
  return h(
    "article",
    { class: ["property", missing && "absent"], id: `property-${property.name}` },
    h("h3", {}, property.title),
    missing
      ? [h("p", { class: "value" }, "No value"), h("p", { class: "warn" }, sentenceOf(found.reason))]
      : [
          h(
            "p",
            { class: "value" },
            number(found.value, property.digits),
            h("span", { class: "unit" }, ` ${unit(found.unit)}`),
          ),
          h("p", { class: "within" }, withinText(found, property.digits)),
        ],
    h(
      "dl",
      { class: "about" },
      about("Samples", missing ? null : samples(found, property.digits)),
      about(
        "Corrected",
        found.calibration && [
          `from ${number(found.uncorrected, property.digits)} by `,
          h("code", {}, found.calibration),
        ],
      ),
      about("Method", methodText(found.method)),
      about(
        "Protocol",
        found.protocol && [
          h("code", {}, found.protocol),
          found.protocol_hash && h("span", { class: "muted" }, ` ${found.protocol_hash}`),
        ],
      ),
      about("Jobs", jobs(found)),
    ),
  );
}

const withinText = (found, digits) =>
  found.interval ? `90 % interval ${interval(found.interval[0], found.interval[1], digits)}` : "no interval known";

/** Return how it was computed: the gist, and the whole to open. */
function methodText(method) {
  const end = method.search(/[;,] /);
  return end < 0 || method.length < LONG
    ? sentenceOf(method)
    : h("details", {}, h("summary", {}, `${method.slice(0, end)} …`), h("p", {}, sentenceOf(method)));
}

const about = (term, value) => value && h("div", {}, h("dt", {}, term), h("dd", {}, value));

/** Return number and spread of the samples in words. */
export function samples(found, digits) {
  const spread = [
    found.std !== null && `standard deviation ${number(found.std, digits)}`,
    found.n > 1 &&
      found.min !== null &&
      found.max !== null &&
      `from ${number(found.min, digits)} to ${number(found.max, digits)}`,
  ].filter(Boolean);
  return [counted(found.n, "sample"), ...spread].join(", ");
}

function jobs(found) {
  if (!found.job_uuids.length) return null;
  const links = found.job_uuids.map((uuid, order) => [order > 0 && ", ", jobLink(uuid)]);
  return [
    links,
    found.reference_job_uuids.length > 0 &&
      `; relative to ${counted(found.reference_job_uuids.length, "reference phase")}`,
  ];
}

/** Return a link to a job in the provenance of the page. */
export const jobLink = (uuid, text = uuid.slice(0, 8)) =>
  h("a", { class: "job-link", href: `#job-${encodeURIComponent(uuid)}`, title: uuid }, text);
