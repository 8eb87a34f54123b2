// The 3D drawing of a structure by 3Dmol: what is drawn, how it is turned, and whether the browser can draw at all.

import { loadVendored } from "../plots.js";
import { colour, onTheme } from "../theme.js";
import { cartesian, drawnCell, faces } from "./cell.js";

/** Of the spheres, in angstrom, by sublattice. */
const RADII = { A: 0.75, B: 0.42, X: 0.3, "": 0.5 };
const EDGE_RADIUS = 0.03;
const BOND_RADIUS = 0.08;
const OPACITY = 0.62;
const FIRST_TURN = [
  ["y", 18],
  ["x", 12],
];
/** Room around the atoms when the view is fitted. */
const FITTED = 1.3;

/** Return whether this browser can draw in three dimensions. */
export function canDraw() {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}

/** The drawing of one structure in an element, which must have a size. */
export class Viewer {
  #element;
  #viewer = null;
  #shown = null;

  constructor(element) {
    this.#element = element;
    // The wheel scrolls the page until the drawing has the focus.
    element.addEventListener(
      "wheel",
      (event) => {
        if (document.activeElement !== element) event.stopPropagation();
      },
      { capture: true, passive: true },
    );
    element.addEventListener("pointerdown", () => element.focus({ preventScroll: true }));
    new ResizeObserver(() => this.#viewer?.resize()).observe(element);
    onTheme(() => this.#shown && this.show(this.#shown, false));
  }

  /**
   * Draw a structure.
   *
   * @param {object} about
   * @param {object} about.structure pymatgen's JSON.
   * @param {number} about.cells Repeats along each cell vector.
   * @param {boolean} about.octahedra Whether octahedra are drawn.
   * @param {boolean} about.labels Whether elements are written at the atoms.
   * @param {function(string): string} about.colourOf Colour of an element.
   * @param {boolean} [fit] Whether the view goes back to all of it.
   */
  async show(about, fit = true) {
    this.#shown = about;
    await loadVendored("3Dmol-min.js");
    this.#viewer ??= globalThis.$3Dmol.createViewer(this.#element, {
      antialias: true,
      disableFog: true,
      upscale: false,
    });
    const view = fit ? null : this.#viewer.getView();
    this.#viewer.clear();
    this.#viewer.setBackgroundColor(colour("page"));
    draw(this.#viewer, drawnCell(about.structure, [about.cells, about.cells, about.cells]), about);
    if (view) this.#viewer.setView(view);
    else this.reset();
    this.#viewer.render();
  }

  /** Turn the crystal about an axis of the screen, "x" or "y", in degrees. */
  turn(axis, degrees) {
    this.#viewer?.rotate(degrees, axis);
  }

  zoom(factor) {
    this.#viewer?.zoom(factor);
  }

  reset() {
    if (!this.#viewer) return;
    this.#viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]);
    for (const [axis, degrees] of FIRST_TURN) this.#viewer.rotate(degrees, axis);
    this.#viewer.zoomTo();
    this.#viewer.zoom(FITTED);
  }

  /** Look along a cell vector: 0, 1 or 2. */
  along(vector) {
    if (!this.#viewer || !this.#shown) return;
    const frac = [0, 1, 2].map((k) => (k === vector ? 1 : 0));
    const view = this.#viewer.getView();
    this.#viewer.setView([...view.slice(0, 4), ...turnToFront(cartesian(frac, this.#shown.structure.lattice.matrix))]);
    this.#viewer.render();
  }
}

/** Return the quaternion (x, y, z, w) that turns a direction towards the eye. */
export function turnToFront(direction) {
  const [x, y, z] = direction.map((part) => part / Math.hypot(...direction));
  // Half of the turn from the direction to (0, 0, 1), about the axis across both; opposite ones turn about x.
  if (z < -1 + 1e-9) return [1, 0, 0, 0];
  const turn = [y, -x, 0, 1 + z],
    size = Math.hypot(...turn);
  return turn.map((part) => part / size);
}

function draw(viewer, cell, { colourOf, octahedra, labels }) {
  viewer.addModel().addAtoms(atomsOf(cell, colourOf));
  for (const [from, to] of cell.edges) {
    viewer.addCylinder({
      start: point(from),
      end: point(to),
      radius: EDGE_RADIUS,
      color: colour("line-strong"),
      fromCap: 1,
      toCap: 1,
    });
  }
  if (octahedra) drawOctahedra(viewer, cell, colourOf);
  if (labels) drawLabels(viewer, cell);
}

/** Return atoms as 3Dmol takes them, bound to the corners of their octahedra. */
function atomsOf(cell, colourOf) {
  const bonds = cell.atoms.map(() => []);
  for (const { centre, corners } of cell.octahedra) {
    for (const corner of corners) {
      bonds[centre].push(corner);
      bonds[corner].push(centre);
    }
  }
  return cell.atoms.map((atom, serial) => {
    const color = colourOf(atom.element);
    return {
      elem: atom.element,
      serial,
      ...point(atom.place),
      bonds: bonds[serial],
      bondOrder: bonds[serial].map(() => 1),
      hetflag: true,
      style: { sphere: { radius: RADII[atom.sublattice], color }, stick: { radius: BOND_RADIUS, color } },
    };
  });
}

const point = ([x, y, z]) => ({ x, y, z });

/** Draw octahedra, those around one element as one shape: a shape each would be slow. */
function drawOctahedra(viewer, cell, colourOf) {
  const elements = new Set(cell.octahedra.map(({ centre }) => cell.atoms[centre].element));
  for (const element of elements) {
    const shape = { vertexArr: [], normalArr: [], faceArr: [], color: colourOf(element), opacity: OPACITY };
    for (const { centre, corners } of cell.octahedra.filter((found) => cell.atoms[found.centre].element === element)) {
      const places = corners.map((corner) => cell.atoms[corner].place);
      for (const face of faces(cell.atoms[centre].place, places))
        addTriangle(
          shape,
          face.map((corner) => places[corner]),
        );
    }
    if (shape.faceArr.length) viewer.addCustom(shape);
  }
}

function addTriangle(shape, [p, q, r]) {
  const u = q.map((x, k) => x - p[k]),
    v = r.map((x, k) => x - p[k]);
  const across = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const normal = point(across.map((x) => x / Math.hypot(...across)));
  for (const corner of [p, q, r]) {
    shape.faceArr.push(shape.vertexArr.length);
    shape.vertexArr.push(point(corner));
    shape.normalArr.push(normal);
  }
}

function drawLabels(viewer, cell) {
  for (const atom of cell.atoms.filter(({ outside }) => !outside)) {
    viewer.addLabel(atom.element, {
      position: point(atom.place),
      fontSize: 12,
      fontColor: colour("text"),
      backgroundColor: colour("surface"),
      backgroundOpacity: 0.6,
      borderThickness: 0,
      padding: 1,
      inFront: true,
      alignment: "center",
    });
  }
}
