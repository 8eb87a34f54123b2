// Colours of elements. Chemists' usual colours make lanthanides alike, which is no use here: cations of one candidate
// get colours that are easy to tell apart, the same in every part of the page.

const CATIONS = [
  "#5f93e0",
  "#e0a43a",
  "#46ad8b",
  "#a981dc",
  "#dd7ba2",
  "#62bddd",
  "#b3bd4c",
  "#b3947f",
  "#97a6b5",
  "#d9825f",
];
const ANIONS = { O: "#e8695d", F: "#8fce97", N: "#8b9be8", S: "#e3cb5f", Cl: "#7fd6b8" };
const OTHER = "#97a6b5";
export const VACANCY = "vacancy";

/** Return element to its colour for a composition on the sites. */
export function elementColours(sites) {
  const found = new Map(Object.entries(ANIONS));
  const cations = ["A", "B"]
    .flatMap((site) => Object.keys(sites[site] ?? {}))
    .filter((name) => name !== VACANCY && !found.has(name));
  for (const [order, name] of [...new Set(cations)].entries()) found.set(name, CATIONS[order % CATIONS.length]);
  return { of: (element) => found.get(element) ?? OTHER };
}

/** Return the number that a site fraction such as "1/5" stands for. */
export function fraction(text) {
  const [over, under = "1"] = String(text).split("/");
  return Number(over) / Number(under);
}
