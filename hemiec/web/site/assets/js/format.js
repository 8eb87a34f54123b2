// Numbers, units and formulas as people read them.

import { h } from "./dom.js";

/** What stands where there is no value; screen readers get the words beside it. */
export const DASH = "–";
const MINUS = "−";
const THIN = " ";

/** Return a number with a fixed number of digits after the point and a true minus; a dash if there is none. */
export function number(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const text = value.toFixed(digits);
  // Rounded to nothing, it has no sign.
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
}

/** Return a whole number in groups of three. */
export function count(value) {
  if (value === null || value === undefined) return DASH;
  const digits = String(Math.round(Math.abs(value)));
  const grouped = digits.length < 5 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, THIN);
  return value < 0 ? MINUS + grouped : grouped;
}

/** Return a share of one as per cent; what is nearly nothing or nearly all is not rounded to it. */
export function percent(share) {
  if (share === null || share === undefined) return DASH;
  if (share > 0 && share < 0.01) return `<${THIN}1${THIN}%`;
  if (share < 1 && share > 0.99) return `>${THIN}99${THIN}%`;
  return `${String(Math.round(share * 100)).replace("-", MINUS)}${THIN}%`;
}

/** Return the two ends of an interval with an en dash; with "to" where one is negative. */
export function interval(low, high, digits = 2) {
  if (low === null || low === undefined || high === null || high === undefined) return DASH;
  const between = low < 0 || high < 0 ? " to " : "–";
  return `${number(low, digits)}${between}${number(high, digits)}`;
}

/** Return a unit as it is written after a number; nothing for unit 1. */
export function unit(name) {
  if (!name || name === "1") return "";
  return name.replaceAll("angstrom", "Å").replace(/\^(\d)/g, (_, digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
}

/** Return a date and time in UTC, as 2026-11-22 20:45. */
export function time(text) {
  if (!text) return DASH;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? String(text) : `${date.toISOString().slice(0, 16).replace("T", " ")}${THIN}UTC`;
}

/**
 * Return a formula with its numbers as subscripts, as a span; what is no formula stays as it is.
 *
 * A screen reader gets the plain text.
 */
export function formula(text) {
  const parts = String(text).split(/(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)/);
  return h("span", { class: "formula" }, parts.map((part, order) => (order % 2 ? [h("sub", {}, part), h("wbr")] : breakable(part))));
}

/** Return text that may go on in the next line after a comma or a bracket. */
function breakable(text) {
  return text.split(/(?<=[,)])/).flatMap((part, order) => (order ? [h("wbr"), part] : [part]));
}

/** Return words joined as in "a, b and c". */
export function sentence(words) {
  const list = [...words];
  return list.length < 2 ? list.join("") : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}

/** Return a noun with its number: "1 candidate", "3 candidates". */
export function counted(n, noun, plural = `${noun}s`) {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}
