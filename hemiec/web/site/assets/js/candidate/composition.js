// What a candidate is made of: site fractions drawn as bars, charges, and what follows from the composition alone.

import { h, svg } from "../dom.js";
import { number } from "../format.js";
import { facts, opened, section, table } from "../pieces.js";
import { fraction, VACANCY } from "./elements.js";

const SITES = { A: "A, 12-fold", B: "B, octahedra", X: "X, anions" };
/** Parts of a bar narrower than this share have no room for a symbol. */
const ROOM = 0.06;

/** Return the section on composition of a CandidateSpec. */
export function compositionSection(spec, colours) {
  const sublattices = Object.entries(spec.sites).filter(([, species]) => Object.keys(species).length > 0);
  return section(
    "composition",
    "Composition",
    h(
      "div",
      { class: "sublattices" },
      sublattices.map(([site, species]) => sublattice(site, species, spec, colours)),
    ),
    spec.charge_balanced
      ? null
      : h(
          "p",
          { class: "warn" },
          `The formal charges do not sum to zero: ${number(spec.net_charge, 3)} e per formula unit are left over.`,
        ),
    facts([
      [
        "Mean valence on B",
        `${spec.mean_B_valence > 0 ? "+" : ""}${number(spec.mean_B_valence, 2)}`,
        spec.charge_solved_for === "delta" ? "fixed; the deficiency balances" : "balances the charges",
      ],
      ["Oxygen deficiency δ", number(spec.oxygen_deficiency, 3), "per formula unit, as computed"],
      ["Goldschmidt t", number(spec.tolerance_factor, 3), null],
      [
        "Bartel τ",
        number(spec.bartel_tau, 2),
        spec.tau_probability === null ? null : `probability of a perovskite ${number(spec.tau_probability, 2)}`,
      ],
      ["Mixing entropy", `${number(spec.configurational_entropy, 2)} R`, "per formula unit, ideal"],
    ]),
    opened("More descriptors", descriptors(spec)),
  );
}

function sublattice(site, species, spec, colours) {
  const parts = Object.entries(species).map(([name, share]) => ({ name, share: fraction(share), text: share }));
  const words = parts.map((part) => `${part.text} ${part.name}`).join(", ");
  return h(
    "div",
    { class: "sublattice" },
    h("h3", {}, SITES[site] ?? site),
    bar(parts, words, colours),
    h(
      "ul",
      { class: "species" },
      parts.map((part) =>
        h(
          "li",
          {},
          h("span", {
            class: "swatch",
            style: { "background-color": part.name === VACANCY ? "transparent" : colours.of(part.name) },
            "aria-hidden": "true",
          }),
          h("strong", {}, part.name),
          ` ${part.text}`,
          spec.oxidation_states[part.name] !== undefined &&
            h("span", { class: "muted" }, ` ${signed(spec.oxidation_states[part.name])}`),
        ),
      ),
    ),
  );
}

/** Return the shares of a sublattice as one bar. */
function bar(parts, words, colours) {
  let from = 0;
  return svg(
    "svg",
    { class: "share-bar", viewBox: "0 0 100 9", preserveAspectRatio: "none", role: "img", "aria-label": words },
    parts.flatMap((part) => {
      const x = 100 * from;
      from += part.share;
      const width = Math.max(100 * part.share - 0.35, 0.2);
      const empty = part.name === VACANCY;
      return [
        svg(
          "rect",
          {
            x,
            y: 0,
            width,
            height: 9,
            class: empty ? "vacant" : null,
            style: empty ? {} : { fill: colours.of(part.name) },
          },
          svg("title", {}, `${part.name} ${part.text}`),
        ),
      ];
    }),
  );
}

const signed = (charge) => `${charge > 0 ? "+" : ""}${number(charge, Number.isInteger(charge) ? 0 : 2)}`;

function descriptors(spec) {
  const rows = [
    ["Octahedral factor", spec.octahedral_factor, 3, ""],
    ["Entropy on A", spec.entropy_A, 3, "R per formula unit"],
    ["Entropy on B", spec.entropy_B, 3, "R per formula unit"],
    ["Entropy on X", spec.entropy_X, 3, "R per formula unit"],
    ["Mean valence on A", spec.mean_A_valence, 2, "e"],
    ["Mean radius on A", spec.radius_mean_A, 3, "Å"],
    ["Mean radius on B", spec.radius_mean_B, 3, "Å"],
    ["Variance of the radius on A", spec.radius_variance_A, 5, "Å²"],
    ["Variance of the radius on B", spec.radius_variance_B, 5, "Å²"],
    ["Mean electronegativity on A", spec.electronegativity_mean_A, 3, "Pauling"],
    ["Mean electronegativity on B", spec.electronegativity_mean_B, 3, "Pauling"],
    ["Molar mass", spec.molar_mass, 1, "g/mol"],
    ["Price of the cations as elements", spec.raw_material_cost, 0, "USD/kg, 2013"],
    ["Concentration of production (HHI)", spec.hhi_production, 0, "0 to 10000"],
    ["Concentration of reserves (HHI)", spec.hhi_reserve, 0, "0 to 10000"],
    ["Scarcity", spec.scarcity, 2, "−log10 of the share of the crust"],
  ];
  return table(
    "Descriptors of the composition",
    [{ title: "Descriptor", text: true }, { title: "Value" }, { title: "Unit", text: true }],
    rows.map(([name, value, digits, unit]) => [name, number(value, digits), unit]),
  );
}
