// The leaderboard: its state is in the address, the server ranks, and every control only changes the state.

import { get, isAborted, Latest } from "./api.js";
import { byId, debounced, h, replace, throttled } from "./dom.js";
import { count, counted } from "./format.js";
import { announce, showLayout } from "./layout.js";
import { errorNotice } from "./notices.js";
import { State } from "./state.js";
import { brushCondition, NO_BRUSH } from "./leaderboard/brush.js";
import { showActive } from "./leaderboard/active.js";
import { ElementFilter } from "./leaderboard/elements.js";
import { CampaignFilter, ConditionFilter } from "./leaderboard/filters.js";
import { Rules } from "./leaderboard/rules.js";
import { Scatter } from "./leaderboard/scatter.js";
import { RankingTable } from "./leaderboard/table.js";
import { showTools } from "./leaderboard/tools.js";

/** Asked of the server no more often than this while a slider moves, in ms. */
const RANK_EVERY = 90;
/** What is slower to answer waits until nothing has changed for this long, in ms. */
const SETTLED = 250;
const MAX_COMPARED = 6;

const state = new State({
  definition: "", weights: {}, where: "", campaign: "", elements: [], without: [], sort: "rank", descending: false,
  first: 0, limit: 50, columns: [], x: "", y: "", ...NO_BRUSH, ids: [],
});
const asked = { ranking: new Latest(), uncertainty: new Latest(), elements: new Latest() };
let book = { documents: [], properties: [] };
let shown = null;
/** What the list that is shown was asked with. */
let shownFor = null;

/** The parts of the page; each is given the state and calls `change` when the visitor changes it. */
const parts = {};

async function start() {
  showLayout("leaderboard");
  // Where one column holds all, the list comes before its controls.
  if (matchMedia("(max-width: 960px)").matches) for (const name of ["rules", "filter"]) byId(name).open = false;
  parts.table = new RankingTable(byId("table"), byId("pager"), { state, change, compare });
  parts.table.showLoading("Asking the server");
  const ranking = loadRanking();
  try {
    book = await get("definitions");
  } catch (error) {
    if (!isAborted(error)) replace(byId("definition-choice"), errorNotice(error, () => location.reload()));
    return;
  }
  parts.rules = new Rules({ choice: byId("definition-choice"), weights: byId("weights"), sensitivity: byId("sensitivity") },
    { state, change, book });
  parts.condition = new ConditionFilter(byId("condition"), { state, change });
  parts.campaign = new CampaignFilter(byId("campaign-choice"), { state, change });
  parts.elements = new ElementFilter(byId("elements"), { state, change, filters: elementFilters });
  parts.scatter = new Scatter(byId("scatter"), { state, change, book, question });
  showTools(byId("tools"), { state, change, book, question, compare });
  const followState = () => Object.values(parts).forEach((part) => part.fromState?.());
  followState();
  state.onBack(() => {
    followState();
    change({}, { remember: false });
  });
  await ranking;
  showAll();
}

/**
 * Change the state, and ask for what depends on it.
 *
 * @param {object} changes Name to value, of the state.
 * @param {object} [how] `push` makes a step of the browser's history; `page` says that only the page of the list changes.
 */
function change(changes, { push = false, page = false, remember = true } = {}) {
  const turned = page || !remember ? changes : { first: 0, ...changes };
  if (remember) state.set(turned, { push });
  rankSoon();
}

/** Return the parameters that say which candidates are ranked how. */
function question({ brushed = true } = {}) {
  const weights = Object.entries(state.get("weights")).map(([name, weight]) => `${name}:${weight}`).join(",");
  return { definition: state.get("definition"), weights, ...filters({ brushed }) };
}

/** Return the parameters that say which candidates are in the list. */
function filters({ brushed = true } = {}) {
  const own = state.get("where").trim();
  const brush = brushed ? brushCondition(state.all()) : "";
  return {
    where: own && brush ? `${brush} and (${own})` : own || brush,
    campaign: state.get("campaign"),
    elements: state.get("elements").join(","),
    without: state.get("without").join(","),
  };
}

/** Return the filters for the counts of elements, which those of the rules belong to. */
function elementFilters() {
  return { definition: state.get("definition"), ...filters() };
}

function pageOf() {
  return { ...question(), sort: state.get("sort"), descending: state.get("descending"), first: state.get("first"), limit: state.get("limit") };
}

async function loadRanking() {
  const page = pageOf();
  const signal = asked.ranking.next();
  parts.table.busy(true);
  try {
    shown = await get("ranking", page, { signal, onWait: showWaiting });
  } catch (error) {
    if (isAborted(error)) return;
    showRefusal(error);
    return;
  }
  shownFor = page;
  asked.uncertainty.stop(); // it was of the rows before
  if (shown.rows.length === 0 && state.get("first") > 0) {
    state.set({ first: 0 });
    await loadRanking();
    return;
  }
  parts.condition?.showError(null);
  showAll();
  uncertainSoon();
}

async function loadUncertainty() {
  if (!shown || shown.rows.every((row) => row.rank === null)) return;
  const signal = asked.uncertainty.next();
  try {
    parts.table.showUncertainty(await get("ranking/uncertainty", shownFor, { signal }));
  } catch (error) {
    if (!isAborted(error)) parts.table.showUncertaintyError(error);
  }
}

const rankSoon = throttled(loadRanking, RANK_EVERY);
const uncertainSoon = debounced(loadUncertainty, SETTLED);
const followSoon = debounced(() => {
  parts.scatter?.load();
  parts.elements?.load();
}, SETTLED);

function showAll() {
  if (!shown) return;
  parts.table.show(shown, book);
  if (!parts.rules) return;
  parts.rules.show(shown);
  followSoon();
  showActive(byId("active"), { state, change, book, parts });
  showSummary();
}

function showSummary() {
  const { n_found: found, n_ranked: ranked, n_unranked: unranked, table } = shown;
  const all = table.n_candidates;
  const of = found === all ? counted(all, "candidate") : `${count(found)} of ${counted(all, "candidate")}`;
  const text = unranked ? `${of}: ${count(ranked)} ranked, ${count(unranked)} not, for want of a value` : `${of}, all ranked`;
  const title = book.documents.find((document) => document.name === shown.definition.name)?.title;
  replace(byId("page-title"), title ?? shown.definition.title ?? "Leaderboard");
  document.title = `${title ?? "Leaderboard"} – hemiec`;
  replace(byId("summary"), found ? text : `None of ${counted(all, "candidate")} fits the filter`,
    h("span", { class: "elapsed" }, ` · ${Math.max(1, Math.round(shown.elapsed_ms ?? 0))} ms`));
  announce(found ? `${text}. ${leader()}` : "No candidate fits the filter.");
}

function leader() {
  const first = shown.rows.find((row) => row.rank === 1);
  return first ? `First: ${first.label}.` : "";
}

function showWaiting({ message, progress }) {
  parts.table.showLoading(message, progress?.total ? progress.done / progress.total : null);
  replace(byId("summary"), "The server is reading its database.");
}

function showRefusal(error) {
  if (error.status === 422 && /^query:/.test(error.message) && parts.condition) {
    parts.condition.showError(error);
    parts.table.busy(false);
    announce(`The condition is wrong: ${error.message}`);
    return;
  }
  shown = null;
  asked.uncertainty.stop();
  // Without the definitions there is nothing to rank by.
  parts.table.showError(error, parts.rules ? loadRanking : () => location.reload());
  replace(byId("summary"), "No ranking to show.");
}

/** Put a candidate among those to compare, or take it out. */
function compare(candidate_id, chosen) {
  const others = state.get("ids").filter((id) => id !== candidate_id);
  if (chosen && others.length >= MAX_COMPARED) {
    announce(`No more than ${MAX_COMPARED} candidates can be compared.`);
    return false;
  }
  state.set({ ids: chosen ? [...others, candidate_id] : others });
  document.dispatchEvent(new CustomEvent("comparedchange"));
  return true;
}

start();
