// The conducting network of a cell: an SVG that is turned by dragging or with the arrow keys. It needs no WebGL.

import { h, svg } from "../dom.js";
import { number, percent } from "../format.js";
import { cartesian } from "./cell.js";
import { table } from "../pieces.js";
import { drawnNetwork } from "./transport_data.js";

const WIDTH = 360;
const HEIGHT = 300;
const FIRST_VIEW = [0.45, 0.3];
const STEP = 0.12;
/** Hops with less than this part of the largest share carry next to nothing. */
const FAINT = 0.01;
const LISTED = 12;

/** Return a figure of sites and hops: wide hops limit the current. */
export function networkFigure(transport) {
  const of = drawnNetwork(transport),
    order = [...of.hops].sort((p, q) => q.share - p.share);
  const drawing = draw(of);
  return h(
    "figure",
    { class: "panel-figure" },
    h("h3", { class: "figure-title" }, "Network that conducts"),
    h(
      "div",
      {
        class: "network",
        tabindex: "0",
        role: "img",
        "aria-label": summary(of, transport.mobile, order),
        on: turning(drawing),
      },
      drawing.node,
    ),
    h(
      "div",
      { class: "row turn-buttons" },
      [
        ["Turn left", "←", -1, 0],
        ["Turn right", "→", 1, 0],
        ["Tilt up", "↑", 0, -1],
        ["Tilt down", "↓", 0, 1],
      ].map(([name, sign, dx, dy]) =>
        h(
          "button",
          {
            type: "button",
            class: "button small-button",
            "aria-label": name,
            title: name,
            on: { click: () => drawing.turn(2 * dx * STEP, 2 * dy * STEP) },
          },
          sign,
        ),
      ),
    ),
    h(
      "figcaption",
      {},
      `Sites of ${transport.mobile} in the cell, faint the lowest energy, full colour the highest (${number(Math.max(...of.energies), 2)} eV above). `,
      "Wide hops limit the current, thin ones carry next to none, dashed ones have no saddle. Drag, or use the arrow keys, to turn.",
    ),
    h(
      "details",
      {},
      h("summary", {}, "As numbers"),
      table(
        `The ${Math.min(LISTED, order.length)} hops that limit the current most`,
        [
          { title: "Hop", text: true },
          { title: "Passes", text: true },
          { title: "Share" },
          { title: "Forward (eV)" },
          { title: "Reverse (eV)" },
          { title: "Barrier", text: true },
        ],
        order
          .slice(0, LISTED)
          .map((hop) => [
            String(hop.hop),
            hop.environment,
            percent(hop.share),
            number(hop.forward, 2),
            number(hop.reverse, 2),
            hop.how,
          ]),
      ),
    ),
  );
}

function summary(of, mobile, order) {
  const all = `${of.sites.length} sites of ${mobile} with ${of.hops.length} hops`;
  if (!(order[0]?.share > 0)) return `${all}; no current flows`;
  const carrying = order.filter((hop) => hop.share >= FAINT * order[0].share).length;
  return `${all}, of which ${carrying} carry current; the one that limits it most passes ${order[0].environment}`;
}

/** Return the drawing and how to turn it by two angles in radians. */
function draw(of) {
  const place = (frac) =>
      cartesian(
        frac.map((x) => x - 0.5),
        of.lattice,
      ),
    items = [...edges(), ...hops(of), ...sites(of)];
  for (const item of items) item.places = item.ends.map(place);
  const reach = Math.max(
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((c) => Math.hypot(...place([c & 1, (c >> 1) & 1, (c >> 2) & 1]))),
  );
  const scale = (0.47 * Math.min(WIDTH, HEIGHT)) / reach,
    view = [...FIRST_VIEW];
  const node = svg(
    "svg",
    { viewBox: `${-WIDTH / 2} ${-HEIGHT / 2} ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    items.map((item) => item.node),
  );
  const turn = (yaw, pitch) => {
    view[0] += yaw;
    view[1] = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, view[1] + pitch));
    project(items, view, scale);
  };
  turn(0, 0);
  return { node, turn };
}

function edges() {
  const corner = (c) => [c & 1, (c >> 1) & 1, (c >> 2) & 1];
  return [0, 1, 2, 3, 4, 5, 6, 7].flatMap((c) =>
    [1, 2, 4]
      .filter((bit) => !(c & bit))
      .map((bit) => ({ ends: [corner(c), corner(c | bit)], node: svg("line", { class: "edge" }) })),
  );
}

/** Return both halves of each hop, each in the cell at its end, those that carry most drawn last. */
function hops(of) {
  const strongest = Math.max(...of.hops.map((hop) => hop.share), Number.MIN_VALUE);
  const middle = (a, b) => a.map((x, k) => (x + b[k]) / 2);
  return [...of.hops]
    .sort((p, q) => p.share - q.share)
    .flatMap((hop) => {
      const from = of.sites[hop.start],
        to = of.sites[hop.end],
        part = hop.share / strongest;
      const line = () =>
        svg(
          "line",
          {
            class: ["hop", part < FAINT && "faint", hop.failed && "lost"],
            "stroke-width": part < FAINT ? 0.7 : 0.6 + 4.4 * Math.sqrt(part),
          },
          svg(
            "title",
            {},
            `hop ${hop.hop}, ${hop.environment}: share ${percent(hop.share)}, forward ${number(hop.forward, 2)} eV, reverse ${number(hop.reverse, 2)} eV, ${hop.how}`,
          ),
        );
      const beyond = to.map((x, k) => x + hop.image[k]),
        before = from.map((x, k) => x - hop.image[k]);
      return [
        { ends: [from, middle(from, beyond)], node: line() },
        { ends: [middle(to, before), to], node: line() },
      ];
    });
}

function sites(of) {
  const highest = Math.max(...of.energies, 1e-9);
  return of.sites.map((site, k) => ({
    ends: [site],
    node: svg(
      "circle",
      { class: "site", r: 4.4, style: { "--dark": `${Math.round((100 * of.energies[k]) / highest)}%` } },
      svg("title", {}, `site ${k}: ${number(of.energies[k], 2)} eV, occupation ${percent(of.occupation[k])}`),
    ),
  }));
}

function project(items, [yaw, pitch], scale) {
  const [c, s, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const seen = (p) => [scale * (c * p[0] + s * p[1]), -scale * (cp * p[2] + sp * (c * p[1] - s * p[0]))];
  for (const item of items) {
    const points = item.places.map(seen);
    const names =
      points.length === 2
        ? [
            ["x1", "y1"],
            ["x2", "y2"],
          ]
        : [["cx", "cy"]];
    points.forEach((point, k) =>
      names[k].forEach((name, axis) => item.node.setAttribute(name, point[axis].toFixed(1))),
    );
  }
}

function turning(drawing) {
  const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  return {
    pointerdown: (event) => event.currentTarget.setPointerCapture(event.pointerId),
    pointermove: (event) => event.buttons && drawing.turn(event.movementX * 0.01, event.movementY * 0.01),
    keydown: (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      drawing.turn(...step);
    },
  };
}
