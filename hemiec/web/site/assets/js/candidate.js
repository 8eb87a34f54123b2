// The page of one candidate: everything known of it, and where each number comes from.

import { apiAddress, download, get, isAborted } from "./api.js";
import { byId, h, newId, replace } from "./dom.js";
import { counted, formula, time } from "./format.js";
import { announce, showLayout } from "./layout.js";
import { emptyNotice, errorNotice, loadingNotice } from "./notices.js";
import { State } from "./state.js";
import { compositionSection } from "./candidate/composition.js";
import { electronicSection } from "./candidate/electronic.js";
import { elementColours } from "./candidate/elements.js";
import { propertiesSection } from "./candidate/properties.js";
import { openTarget, provenanceSection } from "./candidate/provenance.js";
import { rankSection } from "./candidate/rank.js";
import { structureSection } from "./candidate/structure.js";
import { thermoSections } from "./candidate/thermo.js";
import { transportSection } from "./candidate/transport.js";

const state = new State({ id: "", definition: "", result: "", structure: "", kind: "relaxed", cells: 1 });
const main = byId("content");
/** What heads the page until the candidate is there. */
const TITLE = h("h1", { class: "page-title" }, "Candidate");
/** Says which section is read. */
let watch = null;

showLayout("candidate");
show();

async function show() {
  const id = state.get("id");
  if (!id) {
    replace(
      main,
      TITLE,
      emptyNotice(
        "No candidate chosen",
        "The address of this page names one, as in candidate?id=hm-0123456789abcdef. Choose one in the leaderboard.",
        [h("a", { class: "button primary", href: "./" }, "To the leaderboard")],
      ),
    );
    return;
  }
  replace(main, TITLE, loadingNotice("Reading the candidate"));
  try {
    const [candidate, definitions] = await Promise.all([
      get(`candidates/${encodeURIComponent(id)}`, { whole: true }),
      get("definitions"),
    ]);
    page(candidate, definitions);
  } catch (error) {
    if (!isAborted(error))
      replace(
        main,
        TITLE,
        errorNotice(error, show),
        h("p", { class: "note" }, h("a", { href: "./" }, "To the leaderboard")),
      );
  }
}

function page(candidate, definitions) {
  const spec = candidate.candidate,
    colours = elementColours(spec.sites);
  const title = (name) => definitions.properties.find((property) => property.name === name)?.title ?? named(name);
  document.title = `${spec.label} – hemiec`;
  const results = h("div", { class: "sections" });
  const contents = h("nav", { class: "contents", "aria-label": "On this page" });
  const showResult = () => {
    replace(results, resultSections(chosen(candidate)));
    listContents(contents);
  };
  const sections = [
    rankSection(candidate.candidate_id, state, definitions),
    compositionSection(spec, colours),
    propertiesSection(candidate, definitions.properties),
    structureSection(candidate.candidate_id, state, colours),
    candidate.results.length === 0
      ? emptyNotice(
          "No result yet",
          "Nothing has been computed for this candidate so far; its composition is all there is.",
        )
      : resultChoice(candidate, showResult),
    results,
    provenanceSection(candidate.candidate_id, title),
  ];
  if (candidate.results.length) replace(results, resultSections(chosen(candidate)));
  replace(
    main,
    head(candidate),
    h("div", { class: "with-contents" }, contents, h("div", { class: "sections" }, sections)),
  );
  listContents(contents);
  openTarget();
  announce(`Candidate ${spec.label}`);
}

const named = (property) => property.replace(/\.(\d+)/, (_, n) => ` ${Number(n) + 1}`).replaceAll("_", " ");

const chosen = (candidate) =>
  candidate.results.find((result) => result.plan_id === state.get("result")) ?? candidate.results[0];

const resultSections = (result) => [transportSection(result), electronicSection(result), ...thermoSections(result)];

function head(candidate) {
  const spec = candidate.candidate,
    path = `candidates/${candidate.candidate_id}`;
  const save = async (event) => {
    try {
      await download(path, { whole: true });
    } catch (error) {
      if (!isAborted(error)) event.target.closest("header").append(errorNotice(error));
    }
  };
  return h(
    "div",
    { class: "page-head" },
    h(
      "div",
      {},
      h("h1", {}, formula(spec.label)),
      h(
        "p",
        { class: "muted" },
        formula(spec.formula),
        " · ",
        h("code", {}, candidate.candidate_id),
        " · ",
        candidate.campaigns.length
          ? [
              "asked for by ",
              candidate.campaigns.map((name, k) => [
                k > 0 && ", ",
                h("a", { href: `./?campaign=${encodeURIComponent(name)}` }, name),
              ]),
            ]
          : "no campaign",
        ` · built ${time(candidate.last_updated)}`,
      ),
    ),
    h(
      "div",
      { class: "row" },
      h("a", { class: "button", href: `compare?ids=${encodeURIComponent(candidate.candidate_id)}` }, "Compare"),
      h("button", { type: "button", class: "button", on: { click: save } }, "Download JSON"),
      h("a", { class: "button quiet", href: apiAddress(path, { whole: true }).href }, "In the API"),
    ),
  );
}

/** Return what says, or lets choose, which result the sections after it are of. */
function resultChoice(candidate, change) {
  const name = (result) =>
    `${result.n_atoms === null ? "no cell yet" : counted(result.n_atoms, "atom")}, ${counted(result.hops.length, "hop")} (${result.plan_id})`;
  if (candidate.results.length === 1)
    return h(
      "p",
      { class: "note" },
      "What follows is of its only result, ",
      h("code", {}, candidate.results[0].plan_id),
      ".",
    );
  const id = newId("result");
  const select = h(
    "select",
    {
      id,
      on: {
        change: () => {
          state.set({ result: select.value }, { push: true });
          change();
        },
      },
    },
    candidate.results.map((result) =>
      h("option", { value: result.plan_id, selected: result === chosen(candidate) }, name(result)),
    ),
  );
  state.onBack(() => {
    select.value = chosen(candidate).plan_id;
    change();
  });
  return h(
    "p",
    { class: "field-row" },
    h("label", { for: id }, `One of ${counted(candidate.results.length, "result")}, the most trusted first`),
    select,
  );
}

/** List the sections, which another result may have others of; the one that is read is marked. */
function listContents(contents) {
  watch?.disconnect();
  const titles = [...document.querySelectorAll("main section[id] > h2")];
  const links = new Map(
    titles.map((title) => [title.parentElement, h("a", { href: `#${title.parentElement.id}` }, title.textContent)]),
  );
  replace(
    contents,
    h(
      "ul",
      {},
      [...links.values()].map((link) => h("li", {}, link)),
    ),
  );
  watch = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        if (isIntersecting) links.get(target).setAttribute("aria-current", "true");
        else links.get(target).removeAttribute("aria-current");
      }
    },
    { rootMargin: "-30% 0px -65% 0px" },
  );
  for (const part of links.keys()) watch.observe(part);
}
