// What is drawn of thermodynamics, from the stored parts of a Thermodynamics document.

/** Partial pressure of oxygen in air, in bar. */
const AIR_BAR = 0.21;
/** Reaction energies nearer to zero than this, in eV/atom, are rounding. */
const NOTHING_EV = 1e-6;
/** Curves of the oxygen deficiency at most: one per temperature. */
const MOST_CURVES = 6;

/** Return what makes the phase stable, and from which temperature on, in words. */
export function verdict(entropy) {
  const highest = Math.round(entropy.temperatures_K.at(-1) ?? 0),
    at = entropy.stabilised_above_K;
  return {
    enthalpy: "by enthalpy, at 0 K",
    entropy: at === null ? "by entropy" : `by entropy, above ${Math.round(at)} K`,
    neither: `not up to ${highest} K`,
    undecided: "undecided within the interval",
  }[entropy.decided_by];
}

/**
 * Return the ends of a window, their unit, and the products below and above them: volts against Li/Li+ for lithium,
 * else eV relative to the element. A high voltage is a low chemical potential, so that lithium's products change sides.
 */
export function windowEnds(window) {
  const { products_below: below, products_above: above } = window;
  return window.element === "Li"
    ? { low: window.voltage_low, high: window.voltage_high, unit: "V", below: above, above: below }
    : { low: window.low, high: window.high, unit: "eV", below, above };
}

/** Return a range in words; either end may be null. */
export function rangeText(low, high, digits, number) {
  if (low === null && high === null) return "no limit";
  if (low === null) return `below ${number(high, digits)}`;
  return high === null ? `above ${number(low, digits)}` : `${number(low, digits)} to ${number(high, digits)}`;
}

/** Return the partner of an interface, and at which potential an element is open to a reservoir. */
export function curveName(curve, number) {
  if (curve.open_element === null) return curve.partner;
  if (curve.chemical_potential === null) return `${curve.partner}, open to ${curve.open_element}`;
  return curve.open_element === "Li"
    ? `${curve.partner}, Li at ${number(-curve.chemical_potential, 1)} V`
    : `${curve.partner}, ${curve.open_element} at ${number(curve.chemical_potential, 2)} eV`;
}

/** Return interface curves: closed ones first, the worst before the others. */
export function inOrder(curves) {
  return [...curves].sort(
    (p, q) => (p.open_element !== null) - (q.open_element !== null) || p.reaction_energy - q.reaction_energy,
  );
}

/** Return the products where a curve is lowest; empty if nothing reacts. */
export function worstProducts(curve) {
  const worst = curve.kinks.reduce(
    (low, kink) => (low === null || kink.reaction_energy < low.reaction_energy ? kink : low),
    null,
  );
  return worst === null || worst.reaction_energy > -NOTHING_EV ? [] : worst.products;
}

/**
 * Return oxygen deficiency over pressure at a few temperatures, from the coldest to the hottest of the grid.
 *
 * @returns {{temperature: number, delta: number[], valence: number[]}[]}
 */
export function oxygenCurves(oxygen) {
  const n = oxygen.temperatures_K.length,
    few = Math.min(n, MOST_CURVES);
  const rows = [
    ...new Set(Array.from({ length: few }, (_, k) => (few === 1 ? 0 : Math.round((k * (n - 1)) / (few - 1))))),
  ];
  return rows.map((row) => ({
    temperature: oxygen.temperatures_K[row],
    delta: oxygen.delta[row],
    valence: oxygen.mean_B_valence[row],
  }));
}

/** log10 of the pressure of oxygen in air over 1 bar. */
export const airPressure = () => Math.log10(AIR_BAR);
