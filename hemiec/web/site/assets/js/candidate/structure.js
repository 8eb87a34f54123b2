// The structures of a candidate: drawn in 3D where the browser can, in words and numbers always, and as files.

import { apiAddress, get, getFile, isAborted, Latest, saveBlob } from "../api.js";
import { h, newId, replace } from "../dom.js";
import { counted, formula, number } from "../format.js";
import { announce } from "../layout.js";
import { emptyNotice, errorNotice, loadingNotice, sentenceOf } from "../notices.js";
import { facts, opened, section, table } from "../pieces.js";
import { jobLink } from "./properties.js";
import { amounts, measures, sitesOf } from "./cell.js";
import { canDraw, Viewer } from "./viewer.js";

const KINDS = { relaxed: "Relaxed", ideal: "Ideal sites" };
const FILES = [
  ["cif", "CIF", "cif"],
  ["poscar", "POSCAR", "POSCAR"],
  ["json", "JSON", "json"],
];
const MOST_CELLS = 3;
const TURN_DEGREES = 15;
/** Less charge than this, in e per formula unit, is rounding. */
const UNCHARGED = 5e-4;
const CLOSER = 1.2;

/**
 * Return the section on structures.
 *
 * @param {string} id The candidate.
 * @param {object} state Of the page: `structure`, `kind` and `cells` are chosen here.
 * @param {{of: function(string): string}} colours Colour of each element.
 */
export function structureSection(id, state, colours) {
  const body = h("div", { class: "stack" }, loadingNotice("Reading the structures"));
  load(id, state, colours, body);
  return section("structure", "Structure", body);
}

async function load(id, state, colours, body) {
  try {
    const { documents } = await get(`candidates/${encodeURIComponent(id)}/structures`);
    if (documents.length) replace(body, new StructureView(documents, state, colours).element);
    else
      replace(
        body,
        emptyNotice("No structure yet", "The special quasirandom structure of this candidate has not been computed."),
      );
  } catch (error) {
    replace(
      body,
      errorNotice(error, () => load(id, state, colours, body)),
    );
  }
}

class StructureView {
  #documents;
  #state;
  #colours;
  #latest = new Latest();
  #drawing = h("div", { class: "viewer", tabindex: "0", role: "img" });
  #stage = h("div", { class: "viewer-stage" });
  #legend = h("ul", { class: "legend", "aria-label": "Atoms in the cell" });
  #text = h("div", { class: "stack" });
  #controls = h("div", { class: "structure-choices" });
  #viewer = null;
  #octahedra = true;
  #labels = false;

  constructor(documents, state, colours) {
    this.#documents = documents;
    this.#state = state;
    this.#colours = colours;
    if (canDraw()) {
      this.#viewer = new Viewer(this.#drawing);
      this.#drawing.addEventListener("keydown", (event) => this.#key(event));
      replace(this.#stage, this.#drawing, this.#turnButtons(), this.#legend);
    } else {
      replace(
        this.#stage,
        h(
          "p",
          { class: "notice", id: "no-webgl" },
          "This browser cannot draw in three dimensions (it has no WebGL 2, or it is switched off). The sites are in the table, and the files open in other programs.",
        ),
        this.#legend,
      );
    }
    replace(this.#controls, this.#choices());
    this.element = h(
      "div",
      { class: "stack" },
      this.#controls,
      h("div", { class: "structure" }, this.#stage, this.#text),
    );
    state.onBack(() => {
      replace(this.#controls, this.#choices());
      this.show();
    });
    this.show();
  }

  get #document() {
    return this.#documents.find((doc) => doc.structure_id === this.#state.get("structure")) ?? this.#documents[0];
  }

  get #kind() {
    return this.#document.relax_job_uuid === null || this.#state.get("kind") === "ideal" ? "ideal" : "relaxed";
  }

  get #cells() {
    const wanted = this.#state.get("cells");
    return Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_CELLS ? wanted : 1;
  }

  /** Read the chosen structure and show it. */
  async show() {
    const doc = this.#document,
      kind = this.#kind,
      signal = this.#latest.next();
    try {
      const structure = await get(
        `structures/${encodeURIComponent(doc.structure_id)}`,
        { kind, format: "json" },
        { signal },
      );
      replace(this.#text, this.#described(doc, structure));
      this.#drawing.setAttribute(
        "aria-label",
        `Cell of ${doc.formula_pretty}, ${KINDS[kind].toLowerCase()}, ${counted(doc.nsites, "atom")}; arrow keys turn it, plus and minus zoom`,
      );
      await this.#draw(structure, true);
      announce(`${KINDS[kind]} structure of ${doc.formula_pretty}`);
    } catch (error) {
      if (!isAborted(error))
        replace(
          this.#text,
          errorNotice(error, () => this.show()),
        );
    }
  }

  async #draw(structure, fit) {
    if (!this.#viewer) return;
    this.redraw = () => this.#draw(structure, false);
    await this.#viewer.show(
      { structure, cells: this.#cells, octahedra: this.#octahedra, labels: this.#labels, colourOf: this.#colours.of },
      fit,
    );
  }

  #choices() {
    const change = (changes) => {
      this.#state.set(changes, { push: true });
      this.show();
    };
    return [
      this.#documents.length > 1 &&
        labelled(
          "Structure",
          select(
            this.#documents.map((doc) => [doc.structure_id, `${doc.plan_id}, member ${doc.member + 1}`]),
            this.#document.structure_id,
            (structure) => {
              change({ structure });
              // Another one may not have been relaxed.
              replace(this.#controls, this.#choices());
              this.#controls.querySelector("select").focus();
            },
          ),
        ),
      labelled(
        "Sites",
        select(
          Object.entries(KINDS).filter(([kind]) => kind === "ideal" || this.#document.relax_job_uuid !== null),
          this.#kind,
          (kind) => change({ kind }),
        ),
      ),
      this.#viewer &&
        labelled(
          "Cells",
          select(
            [1, 2, 3].map((n) => [String(n), `${n} × ${n} × ${n}`]),
            String(this.#cells),
            (cells) => change({ cells: Number(cells) }),
          ),
        ),
      this.#viewer &&
        ticked("Octahedra", this.#octahedra, (on) => {
          this.#octahedra = on;
          this.redraw?.();
        }),
      this.#viewer &&
        ticked("Symbols", this.#labels, (on) => {
          this.#labels = on;
          this.redraw?.();
        }),
      h(
        "div",
        { class: "row downloads", role: "group", "aria-label": "Download this structure" },
        FILES.map(([format, title, ending]) =>
          h(
            "button",
            {
              type: "button",
              class: "button",
              on: { click: (event) => this.#save(event.currentTarget, format, ending) },
            },
            title,
          ),
        ),
      ),
    ];
  }

  async #save(button, format, ending) {
    const doc = this.#document,
      kind = this.#kind;
    try {
      const { blob } = await getFile(`structures/${encodeURIComponent(doc.structure_id)}`, { format, kind });
      saveBlob(blob, `${doc.structure_id.replaceAll(":", "_")}-${kind}.${ending}`);
      announce("Structure saved");
    } catch (error) {
      if (!isAborted(error)) button.closest(".stack").prepend(errorNotice(error));
    }
  }

  #turnButtons() {
    const of = this.#viewer,
      turns = [
        ["Turn left", "←", () => of.turn("y", -TURN_DEGREES)],
        ["Turn right", "→", () => of.turn("y", TURN_DEGREES)],
        ["Tilt up", "↑", () => of.turn("x", -TURN_DEGREES)],
        ["Tilt down", "↓", () => of.turn("x", TURN_DEGREES)],
        ["Closer", "+", () => of.zoom(CLOSER)],
        ["Farther", "−", () => of.zoom(1 / CLOSER)],
        ["Along a", "a", () => of.along(0)],
        ["Along b", "b", () => of.along(1)],
        ["Along c", "c", () => of.along(2)],
        ["Reset the view", "Reset", () => of.reset()],
      ];
    return h(
      "div",
      { class: "row turn-buttons", role: "group", "aria-label": "View" },
      turns.map(([name, sign, click]) =>
        h(
          "button",
          { type: "button", class: "button small-button", "aria-label": name, title: name, on: { click } },
          sign,
        ),
      ),
    );
  }

  #key(event) {
    const actions = {
      ArrowLeft: () => this.#viewer.turn("y", -TURN_DEGREES),
      ArrowRight: () => this.#viewer.turn("y", TURN_DEGREES),
      ArrowUp: () => this.#viewer.turn("x", -TURN_DEGREES),
      ArrowDown: () => this.#viewer.turn("x", TURN_DEGREES),
      "+": () => this.#viewer.zoom(CLOSER),
      "-": () => this.#viewer.zoom(1 / CLOSER),
      0: () => this.#viewer.reset(),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  #described(doc, structure) {
    const sites = sitesOf(structure),
      found = measures(structure.lattice.matrix);
    replace(
      this.#legend,
      [...amounts(sites)].map(([element, n]) =>
        h(
          "li",
          {},
          h("span", {
            class: "swatch",
            style: { "background-color": this.#colours.of(element) },
            "aria-hidden": "true",
          }),
          `${n} ${element}`,
        ),
      ),
    );
    return [
      facts([
        ["Cell", counted(doc.nsites, "atom"), formula(doc.formula_pretty)],
        ["a, b, c", `${found.lengths.map((x) => number(x, 2)).join(", ")} Å`],
        ["α, β, γ", `${found.angles.map((x) => number(x, 1)).join(", ")}°`],
        ["Volume", `${number(found.volume, 1)} Å³`],
        ["Tilts", doc.tilt ?? "not named"],
      ]),
      quality(doc),
      opened(
        "Sites",
        table(
          `Sites of ${doc.formula_pretty}`,
          [
            { title: "Site", text: true },
            { title: "Element", text: true },
            { title: "On", text: true },
            { title: "x" },
            { title: "y" },
            { title: "z" },
          ],
          sites.map((site, k) => [
            String(k + 1),
            site.element,
            site.sublattice || "–",
            ...site.frac.map((x) => number(x, 4)),
          ]),
        ),
      ),
      h(
        "p",
        { class: "note" },
        "Made by job ",
        jobLink(doc.sqs_job_uuid),
        doc.relax_job_uuid !== null && [
          ", relaxed by ",
          jobLink(doc.relax_job_uuid),
          doc.protocol && [" with ", h("code", {}, doc.protocol)],
        ],
        ". ",
        h("a", { href: apiAddress(`structures/${doc.structure_id}`, { kind: this.#kind }).href }, "In the API"),
      ),
    ];
  }
}

/** Return how random the structure is, which an average over one cell depends on. */
function quality(doc) {
  return [
    h("h3", {}, "Quality of the quasirandom structure"),
    facts([
      ["Warren–Cowley rms", number(doc.warren_cowley_rms, 3), "0 is random"],
      ["icet L1", number(doc.icet_l1, 2), "distance of all cluster correlations"],
      ["Images apart", `${number(doc.shortest_image_distance, 2)} Å`],
      ["Rounded by", number(doc.rounding, 3), "largest change of a site fraction"],
      Math.abs(doc.net_charge) >= UNCHARGED ? ["Net charge", `${number(doc.net_charge, 3)} e`, "per formula unit"] : null,
      doc.max_force === null ? null : ["Largest force", `${number(doc.max_force, 3)} eV/Å`, "after relaxation"],
    ]),
    doc.notes.map((note) => h("p", { class: "warn" }, sentenceOf(note))),
  ];
}

function labelled(title, control) {
  const id = newId("choice");
  control.id = id;
  return h("div", { class: "field-row" }, h("label", { for: id }, title), control);
}

const select = (options, chosen, change) =>
  h(
    "select",
    { on: { change: (event) => change(event.currentTarget.value) } },
    options.map(([value, title]) => h("option", { value, selected: value === chosen }, title)),
  );

function ticked(title, on, change) {
  const id = newId("tick");
  return h(
    "div",
    { class: "row" },
    h("input", { type: "checkbox", id, checked: on, on: { change: (event) => change(event.currentTarget.checked) } }),
    h("label", { for: id }, title),
  );
}
