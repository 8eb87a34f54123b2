// A stored structure as something to draw: atoms, octahedra and the edges of the cell, all in angstrom.

/** Farthest anion that still belongs to an octahedron, in angstrom. */
const REACH = 3.0;
const CORNERS = 6;
const IMAGES = [-1, 0, 1].flatMap((a) => [-1, 0, 1].flatMap((b) => [-1, 0, 1].map((c) => [a, b, c])));

const plus = (p, q) => p.map((x, k) => x + q[k]);
const minus = (p, q) => p.map((x, k) => x - q[k]);
const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
const length = (p) => Math.hypot(...p);

/** Return the Cartesian place of fractional coordinates in a lattice whose rows are the cell vectors. */
export const cartesian = (frac, lattice) =>
  [0, 1, 2].map((k) => frac[0] * lattice[0][k] + frac[1] * lattice[1][k] + frac[2] * lattice[2][k]);

/** Return the sites of a pymatgen Structure: element, sublattice (or ""), fractional coordinates between 0 and 1. */
export function sitesOf(structure) {
  return structure.sites.map((site) => {
    const label = site.properties?.site ?? site.label ?? "";
    return {
      element: site.species[0].element,
      sublattice: ["A", "B", "X"].includes(label) ? label : "",
      frac: site.abc.map((x) => (x - Math.floor(x)) % 1), // -1e-17 less its floor rounds to 1
    };
  });
}

/** Return element to its number of sites, the order of first appearance by sublattice. */
export function amounts(sites) {
  const found = new Map();
  for (const name of ["A", "B", "X", ""])
    for (const site of sites.filter((s) => s.sublattice === name))
      found.set(site.element, (found.get(site.element) ?? 0) + 1);
  return found;
}

/** Return a crystal's lengths in angstrom, angles in degrees and volume in cubic angstrom. */
export function measures(lattice) {
  const [a, b, c] = lattice,
    angle = (p, q) => (Math.acos(dot(p, q) / length(p) / length(q)) * 180) / Math.PI;
  return {
    lengths: lattice.map(length),
    angles: [angle(b, c), angle(a, c), angle(a, b)],
    volume: Math.abs(dot(a, cross(b, c))),
  };
}

/**
 * Return what is drawn of a structure.
 *
 * The cell is repeated and centred on the origin. Anions outside of it are added where they complete an octahedron.
 *
 * @returns {{atoms: object[], octahedra: object[], edges: number[][][]}} atoms with element, place and whether they lie
 * outside; octahedra with centre and corners as numbers of atoms; edges as pairs of places, of the single cells.
 */
export function drawnCell(structure, repeats) {
  const lattice = structure.lattice.matrix,
    sites = sitesOf(structure);
  const middle = cartesian(
    repeats.map((n) => n / 2),
    lattice,
  );
  const atoms = [],
    octahedra = [],
    known = new Map();
  const add = (index, cell, outside) => {
    const key = `${index} ${cell}`;
    if (!known.has(key)) {
      known.set(key, atoms.length);
      const place = minus(cartesian(plus(sites[index].frac, cell), lattice), middle);
      atoms.push({ index, outside, place, element: sites[index].element, sublattice: sites[index].sublattice });
    }
    return known.get(key);
  };
  const cells = range(repeats[0]).flatMap((a) =>
    range(repeats[1]).flatMap((b) => range(repeats[2]).map((c) => [a, b, c])),
  );
  for (const cell of cells) sites.forEach((_, index) => add(index, cell, false));
  const corners = cornersOf(sites, lattice);
  for (const cell of cells)
    for (const [centre, around] of corners)
      octahedra.push({
        centre: add(centre, cell, false),
        corners: around.map(([index, image]) => add(index, plus(cell, image), true)),
      });
  return { atoms, octahedra, edges: cells.flatMap((cell) => edgesOf(cell, lattice, middle)) };
}

const range = (n) => Array.from({ length: n }, (_, k) => k);

/** Return number of each B site to its six anions, each with the image of the cell it lies in. */
function cornersOf(sites, lattice) {
  const numbered = sites.map((site, index) => ({ ...site, index }));
  const anions = numbered.filter((site) => site.sublattice === "X");
  const found = new Map();
  for (const centre of numbered.filter((site) => site.sublattice === "B")) {
    const near = anions
      .flatMap((anion) =>
        IMAGES.map((image) => {
          const apart = cartesian(minus(plus(anion.frac, image), centre.frac), lattice);
          return [length(apart), anion.index, image];
        }),
      )
      .filter(([distance]) => distance < REACH)
      .sort((p, q) => p[0] - q[0])
      .slice(0, CORNERS);
    found.set(
      centre.index,
      near.map(([, index, image]) => [index, image]),
    );
  }
  return found;
}

function edgesOf(cell, lattice, middle) {
  const at = (bits) =>
    minus(
      cartesian(
        [0, 1, 2].map((k) => cell[k] + ((bits >> k) & 1)),
        lattice,
      ),
      middle,
    );
  return range(8).flatMap((from) => [1, 2, 4].filter((bit) => !(from & bit)).map((bit) => [at(from), at(from | bit)]));
}

/** Return the triangles of the hull of an octahedron: each corner but its opposite, turned to point outwards. */
export function faces(centre, corners) {
  const far = corners.map(
    (p) =>
      corners.reduce(
        (best, q, k) =>
          dot(minus(p, centre), minus(q, centre)) < best[1] ? [k, dot(minus(p, centre), minus(q, centre))] : best,
        [-1, Infinity],
      )[0],
  );
  const found = [];
  for (let i = 0; i < corners.length; i++)
    for (let j = i + 1; j < corners.length; j++)
      for (let k = j + 1; k < corners.length; k++) {
        if (far[i] === j || far[j] === i || far[i] === k || far[k] === i || far[j] === k || far[k] === j) continue;
        const normal = cross(minus(corners[j], corners[i]), minus(corners[k], corners[i]));
        found.push(dot(normal, minus(corners[i], centre)) > 0 ? [i, j, k] : [i, k, j]);
      }
  return found;
}
