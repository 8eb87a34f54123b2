// What is drawn of ion transport, from a stored TransportSummary: distribution of barriers, network, Arrhenius curve.

/** Bars of the distribution of barriers at most. */
const MOST_BARS = 24;
const WIDTHS_EV = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/**
 * Return a histogram of the barriers of all hops, both directions, computed and predicted ones apart.
 *
 * @returns {{edges: number[], computed: number[], predicted: number[]}} edges in eV; counts of hops between them.
 */
export function barrierCounts(transport) {
  const of = transport.network,
    both = [];
  transport.saddle_energies.forEach((saddle, hop) => {
    for (const site of [of.start[hop], of.end[hop]])
      both.push({ barrier: saddle - transport.site_energies[site], computed: transport.hop_computed[hop] });
  });
  if (!both.length) return { edges: [], computed: [], predicted: [] };
  const low = Math.min(...both.map((b) => b.barrier)),
    high = Math.max(...both.map((b) => b.barrier));
  const width = WIDTHS_EV.find((w) => (high - low) / w < MOST_BARS) ?? (high - low) / MOST_BARS;
  const first = Math.floor(low / width),
    n = Math.floor(high / width) - first + 1;
  const counts = (wanted) => {
    const found = new Array(n).fill(0);
    for (const b of both) if (b.computed === wanted) found[Math.floor(b.barrier / width) - first] += 1;
    return found;
  };
  return {
    edges: Array.from({ length: n + 1 }, (_, k) => (first + k) * width),
    computed: counts(true),
    predicted: counts(false),
  };
}

/** Return the fewest hops that together dissipate nine tenths of the current's power; null if nothing flows. */
export function hopsForMost(shares, part = 0.9) {
  const ordered = [...shares].sort((a, b) => b - a),
    total = ordered.reduce((a, b) => a + b, 0);
  if (!(total > 0)) return null;
  let sum = 0;
  return 1 + ordered.findIndex((share) => (sum += share) >= part * total - 1e-12);
}

/**
 * Return sites between the faces of the cell, and the hops with the images of those.
 *
 * The faces are laid where they cut through no site: in the middle of the widest gap along each axis.
 */
export function drawnNetwork(transport) {
  const of = transport.network,
    faces = facesOf(of.frac_coords);
  const moved = of.frac_coords.map((frac) => frac.map((x, k) => x - faces[k]));
  const shift = moved.map((frac) => frac.map(Math.floor));
  const lowest = Math.min(...transport.site_energies);
  return {
    lattice: of.lattice,
    sites: moved.map((frac, i) => frac.map((x, k) => x - shift[i][k])),
    energies: transport.site_energies.map((energy) => energy - lowest),
    occupation: transport.occupation,
    hops: of.start.map((start, hop) =>
      hopOf(
        transport,
        hop,
        of.image[hop].map((x, k) => x + shift[of.end[hop]][k] - shift[start][k]),
      ),
    ),
  };
}

function hopOf(transport, hop, image) {
  const of = transport.network,
    [start, end] = [of.start[hop], of.end[hop]],
    saddle = transport.saddle_energies[hop];
  const failed = transport.hop_failures[String(hop)];
  return {
    hop,
    start,
    end,
    image,
    environment: of.environments[hop],
    share: transport.hop_share[hop],
    forward: saddle - transport.site_energies[start],
    reverse: saddle - transport.site_energies[end],
    how: transport.hop_computed[hop] ? "computed" : failed !== undefined ? "no saddle found, predicted" : "predicted",
    failed: failed !== undefined,
  };
}

function facesOf(coords) {
  return [0, 1, 2].map((axis) => {
    const ordered = coords.map((frac) => frac[axis] - Math.floor(frac[axis])).sort((a, b) => a - b);
    const gaps = ordered.map((x, i) => (i + 1 < ordered.length ? ordered[i + 1] : ordered[0] + 1) - x);
    const widest = gaps.indexOf(Math.max(...gaps));
    return widest < 0 ? 0 : ordered[widest] + gaps[widest] / 2;
  });
}

/**
 * Return log10 of conductivity times temperature, or of D where the carriers are not known, with its 90 % interval and
 * the runs of molecular dynamics.
 *
 * The two differ by a constant, as the number of carriers does not depend on temperature; by it the runs' D become
 * conductivities.
 */
export function arrhenius(transport, dynamics) {
  const temperatures = transport.temperatures_K,
    offset = offsetOf(transport);
  const band = offset === null ? transport.log10_diffusivity : transport.log10_conductivity;
  const by = temperatures.map((T) => (offset === null ? 0 : Math.log10(T)));
  const line = (key) => band[key].map((x, i) => (x === null ? null : x + by[i]));
  return {
    temperatures,
    median: line("median"),
    low: line("low"),
    high: line("high"),
    conductivity: offset !== null,
    runs: (dynamics?.points ?? []).map((point) => runOf(point, offset ?? 0)).filter((run) => run !== null),
  };
}

function offsetOf(transport) {
  if (transport.log10_conductivity === null) return null;
  const { log10_conductivity: s, log10_diffusivity: d, temperatures_K: T } = transport;
  const found = T.map((t, i) =>
    s.median[i] === null || d.median[i] === null ? null : s.median[i] + Math.log10(t) - d.median[i],
  )
    .filter((x) => x !== null)
    .sort((a, b) => a - b);
  return found.length ? found[Math.floor(found.length / 2)] : null;
}

function runOf(point, offset) {
  const found = point.vacancy_diffusivity,
    bound = found.value === null;
  const value = bound ? point.vacancy_upper_bound : found.value;
  if (!value) return null;
  const log = Math.log10(value),
    ends = (found.interval ?? [value, value]).map((d) => (d > 0 ? Math.log10(d) : log));
  return {
    temperature: point.temperature_K,
    y: log + offset,
    below: log - ends[0],
    above: ends[1] - log,
    bound,
    text: `molecular dynamics, ${point.temperature_K} K, ${point.time_ps} ps, ${point.n_hops} hops`,
  };
}
