// Light and dark: the system's choice until the visitor makes one.

const KEY = "hemiec-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Return "light" or "dark", as the page looks now. */
export function theme() {
  return document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
}

/** Make the page look light or dark, here and on later visits. */
export function setTheme(chosen) {
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Storage may be forbidden; the choice then holds until the page is left.
  }
  document.dispatchEvent(new CustomEvent("themechange", { detail: chosen }));
}

/** Call a function when the look changes, by the visitor or the system. */
export function onTheme(action) {
  document.addEventListener("themechange", () => action(theme()));
  dark.addEventListener("change", () => action(theme()));
}

/** Return a colour of the theme by its name in base.css, such as "accent". */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
