// A region of the scatter as a condition of the query language, so that the server applies it to all candidates.

/** The state without a region: no box, no outline. */
export const NO_BRUSH = { xmin: null, xmax: null, ymin: null, ymax: null, lasso: "" };
/** Steps in which an outline is followed; each is one range of x and one of y. */
const STEPS = 10;
const MAX_CORNERS = 40;

/** Return whether the state has a region. */
export function isBrushed(state) {
  return Boolean(state.lasso) || ["xmin", "xmax", "ymin", "ymax"].some((name) => state[name] !== null);
}

/** Return the condition of the region in the state, or an empty text. */
export function brushCondition(state) {
  const { x, y, lasso } = state;
  // Both come from the address, so only names may pass.
  if (![x, y].every((name) => /^[a-z_]+$/.test(name))) return "";
  const corners = cornersOf(lasso);
  if (corners.length >= 3) return outlineCondition(x, y, corners);
  const parts = [rangeCondition(x, state.xmin, state.xmax), rangeCondition(y, state.ymin, state.ymax)];
  return parts.filter(Boolean).join(" and ");
}

/** Return the corners [x, y] of an outline in the state. */
export function cornersOf(lasso) {
  return lasso.split("_").filter(Boolean).map((corner) => corner.split("~").map(Number))
    .filter((corner) => corner.length === 2 && corner.every(Number.isFinite)).slice(0, MAX_CORNERS);
}

/** Return an outline for the state from corners, thinned out. */
export function lassoOf(xs, ys) {
  const every = Math.max(1, Math.ceil(xs.length / MAX_CORNERS));
  return xs.map((x, order) => [x, ys[order]]).filter((_, order) => order % every === 0)
    .map((corner) => corner.map(short).join("~")).join("_");
}

/** Return a number with four significant digits. */
export function short(value) {
  return Number(value.toPrecision(4));
}

function rangeCondition(name, low, high) {
  if (low !== null && high !== null) return `${name} in [${low} .. ${high}]`;
  if (low !== null) return `${name} >= ${low}`;
  return high !== null ? `${name} <= ${high}` : "";
}

/** Return an outline as ranges: x in equal steps, y from the lowest to the highest crossing at the middle of each. */
function outlineCondition(x, y, corners) {
  const xs = corners.map((corner) => corner[0]);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const step = (high - low) / STEPS;
  const ranges = [];
  for (let order = 0; order < STEPS; order += 1) {
    const crossed = crossings(corners, low + (order + 0.5) * step);
    if (crossed.length < 2) continue;
    const [bottom, top] = [Math.min(...crossed), Math.max(...crossed)];
    ranges.push(`${x} in [${short(low + order * step)} .. ${short(low + (order + 1) * step)}] and ${y} in [${short(bottom)} .. ${short(top)}]`);
  }
  return ranges.length ? `(${ranges.join(" or ")})` : "";
}

/** Return where the closed outline crosses a vertical line. */
function crossings(corners, at) {
  const found = [];
  corners.forEach(([x1, y1], order) => {
    const [x2, y2] = corners[(order + 1) % corners.length];
    if ((x1 <= at) !== (x2 <= at)) found.push(y1 + ((at - x1) / (x2 - x1)) * (y2 - y1));
  });
  return found;
}
