// The page of campaigns: what was submitted to this store, and how far it has come, read again every few seconds.

import { get, getAll, isAborted, Latest } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { counted, time } from "./format.js";
import { announce, showLayout } from "./layout.js";
import { emptyNotice, errorNotice, loadingNotice } from "./notices.js";
import { State } from "./state.js";
import { isOver, progressParts, stateBar, summaryOf } from "./campaigns/progress.js";

const EVERY_S = 4;
/** A finished campaign may be submitted anew: it is looked at less often. */
const SELDOM = 8;
const PER_PAGE = 50;
const state = new State({ name: "", first: 0, paused: false });
const latest = new Latest();
const list = h("div", { class: "campaign-list" });
const detail = h("section", { class: "card stack", "aria-labelledby": "detail-title", hidden: true });
const status = h("p", { class: "small muted", id: "refresh-state" });
const pause = h("button", {
  type: "button",
  class: "button",
  id: "pause",
  "aria-pressed": "false",
  on: { click: () => setPaused(!state.get("paused")) },
});
let campaigns = [];
let timer = 0;
let round = 0;

showLayout("campaigns");
replace(
  byId("content"),
  h(
    "div",
    { class: "page-head" },
    h(
      "div",
      {},
      h("h1", {}, "Campaigns"),
      h("p", { class: "muted" }, "What was submitted to this store, and how far it has come."),
    ),
    h("div", { class: "row" }, status, pause),
  ),
  h("div", { class: "sections" }, list, detail),
);
state.onBack(() => {
  showPaused();
  mark();
  refresh();
});
document.addEventListener("visibilitychange", () => !document.hidden && !state.get("paused") && refresh());
start();

async function start() {
  showPaused();
  replace(list, loadingNotice("Reading the campaigns"));
  try {
    campaigns = (await getAll("campaigns")).sort((p, q) =>
      (q.last_submitted ?? "").localeCompare(p.last_submitted ?? ""),
    );
    if (!campaigns.length) {
      replace(
        list,
        emptyNotice(
          "No campaign yet",
          "Nothing was submitted to this store. `hemiec run` and `hemiec submit` do; candidates of an archive or of the sample data come without their campaigns.",
        ),
      );
      return;
    }
    if (!campaigns.some((campaign) => campaign.name === state.get("name")))
      state.set({ name: state.get("name") || campaigns[0].name });
    replace(list, campaigns.map(card));
    mark();
    refresh();
  } catch (error) {
    if (!isAborted(error)) replace(list, errorNotice(error, start));
  }
}

function card(campaign) {
  const bar = h("div", { class: "campaign-bar" });
  campaign.show = (counts) =>
    replace(bar, stateBar(counts, campaign.name), h("p", { class: "small muted" }, summaryOf(counts)));
  campaign.button = h(
    "button",
    { type: "button", class: "button", on: { click: () => choose(campaign.name) } },
    "Progress",
  );
  campaign.card = h(
    "article",
    { class: "card stack campaign" },
    h("h2", {}, campaign.name),
    campaign.description && h("p", {}, campaign.description),
    h(
      "p",
      { class: "muted small" },
      `${counted(campaign.n_candidates, "candidate")}, last submitted ${campaign.last_submitted ? time(campaign.last_submitted) : "at a time not recorded"}`,
    ),
    bar,
    h(
      "div",
      { class: "row" },
      campaign.button,
      h("a", { class: "button", href: `./?campaign=${encodeURIComponent(campaign.name)}` }, "Leaderboard"),
    ),
  );
  return campaign.card;
}

function choose(name) {
  state.set({ name, first: 0 }, { push: true });
  mark();
  delete detail.dataset.shown;
  replace(detail, loadingNotice(`Reading ${name}`));
  refresh();
}

/** Show which campaign is looked at. */
function mark() {
  for (const campaign of campaigns) {
    const chosen = campaign.name === state.get("name");
    campaign.card.classList.toggle("chosen", chosen);
    campaign.button.setAttribute("aria-pressed", String(chosen));
  }
}

function setPaused(paused) {
  state.set({ paused });
  showPaused();
  announce(paused ? "Refreshing is paused" : "Refreshing goes on");
  if (!paused) refresh();
}

function showPaused() {
  const paused = state.get("paused");
  pause.textContent = paused ? "Go on refreshing" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
  status.textContent = paused ? "Paused" : `Read again every ${EVERY_S} s`;
  if (paused) clearTimeout(timer);
}

/** Read the chosen campaign, and those of the others that still move; then wait and do it again. */
async function refresh() {
  clearTimeout(timer);
  if (!campaigns.length) return;
  const signal = latest.next(),
    name = state.get("name");
  try {
    await showDetail(name, signal);
    for (const campaign of campaigns.filter((other) => other.name !== name && (!other.over || round % SELDOM === 0))) {
      const { counts } = await get(`campaigns/${encodeURIComponent(campaign.name)}/progress`, { limit: 1 }, { signal });
      campaign.over = isOver(counts);
      campaign.show(counts);
    }
    round += 1;
    showPaused();
  } catch (error) {
    if (isAborted(error)) return;
    showFailure(error);
  }
  if (!state.get("paused") && !document.hidden) timer = setTimeout(refresh, EVERY_S * 1000);
}

async function showDetail(name, signal) {
  const found = await get(
    `campaigns/${encodeURIComponent(name)}/progress`,
    { first: Math.max(0, Math.trunc(state.get("first"))), limit: PER_PAGE },
    { signal },
  );
  const campaign = campaigns.find((other) => other.name === name),
    opened = scrolled(detail);
  campaign?.show(found.counts);
  detail.hidden = false;
  // What has not changed stays as it is, and with it the focus.
  const { updated_at: _, ...content } = found,
    text = JSON.stringify(content);
  if (detail.dataset.shown === text) {
    const read = detail.querySelector(".note");
    if (read) read.textContent = `Read ${time(found.updated_at)}.`;
    return;
  }
  detail.dataset.shown = text;
  replace(detail, h("h2", { id: "detail-title" }, name), progressParts(found, pager));
  opened();
  announce(`${name}: ${summaryOf(found.counts)}`);
}

/** Remember how far the tables of an element are scrolled and which of its buttons has the focus; return what restores it. */
function scrolled(element) {
  const lefts = [...element.querySelectorAll(".scroll")].map((part) => part.scrollLeft),
    focused = element.contains(document.activeElement) ? document.activeElement.dataset.step : null;
  return () => {
    element.querySelectorAll(".scroll").forEach((part, k) => {
      part.scrollLeft = lefts[k] ?? 0;
    });
    if (focused) element.querySelector(`[data-step="${focused}"]`)?.focus();
  };
}

function pager(found) {
  const last = found.first + found.candidates.length;
  const step = (title, first, possible) =>
    h(
      "button",
      {
        type: "button",
        class: "button",
        disabled: !possible,
        data: { step: title },
        on: {
          click: () => {
            state.set({ first }, { push: true });
            refresh();
          },
        },
      },
      title,
    );
  return (
    (found.first > 0 || last < found.n_candidates) &&
    h(
      "div",
      { class: "row" },
      step("Earlier", Math.max(found.first - PER_PAGE, 0), found.first > 0),
      step("Later", last, last < found.n_candidates),
      h("span", { class: "muted small" }, `${found.first + 1} to ${last} of ${found.n_candidates}`),
    )
  );
}

function showFailure(error) {
  status.textContent = "Not up to date";
  detail.hidden = false;
  // Said once, not with every attempt; and the button keeps the focus.
  const text = `${state.get("name")}: ${error.message}`;
  if (detail.dataset.shown === text) return;
  detail.dataset.shown = text;
  replace(
    detail,
    h("h2", { id: "detail-title" }, state.get("name")),
    errorNotice(error, () => {
      delete detail.dataset.shown;
      refresh();
    }),
  );
}
