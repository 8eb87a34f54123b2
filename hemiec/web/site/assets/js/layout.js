// What all pages share: header with navigation, theme switch, footer, and the region that speaks to screen readers.

import { h, replace, svg } from "./dom.js";
import { onTheme, setTheme, theme } from "./theme.js";

const PAGES = [
  ["leaderboard", "./", "Leaderboard"],
  ["compare", "compare", "Compare"],
  ["campaigns", "campaigns", "Campaigns"],
  ["diff", "diff", "Changes"],
  ["docs", "docs", "API"],
];

/**
 * Fill the elements `#header` and `#footer` of a page.
 *
 * @param {string} current Which page it is: leaderboard, candidate, compare, campaigns or diff.
 */
export function showLayout(current) {
  const links = PAGES.map(([name, href, title]) =>
    h("li", {}, h("a", { href, "aria-current": name === current ? "page" : null }, title)));
  replace(document.getElementById("header"),
    h("div", { class: "header-inner" },
      h("a", { class: "brand", href: "./", "aria-label": "hemiec, leaderboard" }, mark(), h("span", {}, "hemiec")),
      h("nav", { "aria-label": "Pages" }, h("ul", {}, links)),
      themeSwitch()));
  replace(document.getElementById("footer"),
    h("div", { class: "footer-inner" },
      h("p", {}, "High-entropy perovskite mixed conductors, ranked with their uncertainty. Nothing here changes the database; " +
        "nothing is loaded from other hosts."),
      h("p", {}, h("a", { href: "docs" }, "REST API"), " · ", h("a", { href: "api/v1/health" }, "server health"))));
}

/** Say something to screen readers, without moving the focus; the page needs an element `#announcer`. */
export function announce(text) {
  const region = document.getElementById("announcer");
  if (region.textContent !== text) region.textContent = text;
}

function themeSwitch() {
  const button = h("button", { type: "button", class: "button quiet", id: "theme-switch" });
  const show = () => {
    const other = theme() === "dark" ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
    button.setAttribute("title", `Switch to the ${other} theme`);
    replace(button, other === "light" ? sun() : moon());
  };
  button.addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
  onTheme(show);
  show();
  return button;
}

/** A perovskite seen along [001]: an octahedron's square in its cell. */
function mark() {
  return svg("svg", { viewBox: "0 0 24 24", class: "mark", "aria-hidden": "true" },
    svg("path", { d: "M12 3.5 20.5 12 12 20.5 3.5 12Z", class: "mark-octahedron" }),
    svg("path", { d: "M12 3.5v17M3.5 12h17", class: "mark-bonds" }),
    [[3, 3], [21, 3], [3, 21], [21, 21]].map(([cx, cy]) => svg("circle", { cx, cy, r: 2.2, class: "mark-site" })),
    svg("circle", { cx: 12, cy: 12, r: 2.6, class: "mark-centre" }));
}

function sun() {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
    svg("circle", { cx: 12, cy: 12, r: 4 }),
    svg("path", { d: "M12 2v3M12 19v3M2 12h3M19 12h3M4.9 4.9 7 7M17 17l2.1 2.1M4.9 19.1 7 17M17 7l2.1-2.1" }));
}

function moon() {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
    svg("path", { d: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z" }));
}
