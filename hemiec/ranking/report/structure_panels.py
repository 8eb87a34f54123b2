"""What the HTML report shows of composition and structure: shares of the sites, and the cell in three dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib.resources import files
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemiec.ranking.report.background import Background
from hemiec.ranking.report.text import number
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.stored import StructureDoc

#: Of species in the order of their sites; they differ for all kinds of colour vision (doi:10.1038/nmeth.1618), the last
#: ones by lightness.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4D4D4D", "#7A5195", "#8C6D31",
    "#003F5C", "#A6CEE3",
)  # fmt: skip
#: Oxygen, and what is vacant.
_ANION, _VACANT = "#B8C2CA", "#00000000"
_SITES, _CATION_SITES = ("A", "B", "X"), ("A", "B")
#: Sublattice by the number of half-integer coordinates in the cubic parent (`hemiec.structures.parent`).
_BY_HALVES = {3: "A", 0: "B", 1: "X"}
_NEAR = 1e-3
#: Corners of an octahedron.
_CORNERS = 6
#: Where 3Dmol lies, which the web page shows structures with too.
VIEWER = "web/site/assets/vendor/3Dmol-min.js"


def viewer_script() -> str | None:
    """Return the script that draws structures, from the installed package; None if it is not there."""
    file = files("hemiec").joinpath(VIEWER)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def composition(known: Background | None) -> list[dict[str, Any]]:
    """Return the sublattices with the share, colour and valence of each species; empty if sites are not known."""
    if known is None or known.spec is None:
        return []
    tones = colours(known)
    rows = []
    for site, species in known.spec.sites.items():
        shares = {symbol: float(Fraction(share)) for symbol, share in species.items()}
        parts = [
            {
                "symbol": symbol,
                "percent": round(100 * share, 3),
                "text": f"{number(100 * share, 1).removesuffix('.0')} %",
                "colour": tones.get(symbol, _ANION),
                "vacant": symbol == "vacancy",
                "valence": _valence(known.spec, symbol),
            }
            for symbol, share in shares.items()
        ]
        rows.append({"site": site, "parts": parts, "realised": None})
    return rows


def colours(known: Background) -> dict[str, str]:
    """Return a colour for each species: cations in the order of their sites, anions in greys."""
    sites: Mapping[str, Sequence[str]] = {site: list(of) for site, of in known.spec.sites.items()} if known.spec else {}
    on_sites = [symbol for site in _CATION_SITES for symbol in sites.get(site, ())]
    cations = [symbol for symbol in dict.fromkeys(on_sites) if symbol != "vacancy"]
    if not cations and known.structures:
        cations = sorted(set(_symbols(_drawn(known.structures[0]))) - {"O"})
    tones = {symbol: PALETTE[order % len(PALETTE)] for order, symbol in enumerate(cations)}
    anions = [symbol for symbol in sites.get("X", ()) if symbol not in tones and symbol != "vacancy"]
    return tones | dict.fromkeys(anions or ["O"], _ANION) | {"vacancy": _VACANT}


def structure_panel(known: Background | None) -> dict[str, Any] | None:
    """Return the first structure as the page draws it; None without one.

    Returns
    -------
    dict or None
        ``cell``, rows in angstrom; ``species`` with colour and radius; ``atoms``, each with the number of its species
        and its position in angstrom, images on the far faces among them; ``octahedra``, each with the number of the
        species inside, its six corners in angstrom and its eight faces. ``what`` says which structure it is.
    """
    if known is None or not known.structures:
        return None
    doc = known.structures[0]
    drawn, tones = _drawn(doc), colours(known)
    cell = np.array(drawn["lattice"]["matrix"], dtype=float)
    frac = np.array([site["abc"] for site in drawn["sites"]], dtype=float).reshape(-1, 3) % 1.0
    labels = list(zip(sublattices(doc, known.spec), _symbols(drawn), strict=True))
    kinds = sorted(set(labels))
    number_of = {kind: order for order, kind in enumerate(kinds)}
    octahedra, corners = _octahedra(labels, frac, cell)
    shown = {(number_of[kind], *position) for kind, position in _with_faces(labels, frac, cell)}
    shown |= {(number_of[labels[anion]], *_rounded(place)) for anion, place in corners}
    return {
        "cell": cell.round(4).tolist(),
        "species": [
            {"symbol": symbol, "site": label, "colour": tones.get(symbol, "#7F7F7F"), "radius": _radius(label)}
            for label, symbol in kinds
        ],
        "atoms": sorted(shown),
        "octahedra": [[number_of[labels[centre]], places, faces] for centre, places, faces in octahedra],
        "what": _what(known.structures),
    }


def sublattices(doc: StructureDoc, spec: CandidateSpec | None) -> list[str]:
    """Return the sublattice of each atom: A, B or X, or nothing where it cannot be told.

    The ideal cell says it, by how many coordinates of the cubic parent are half-integer (A 3, B 0, X 1), if that agrees
    with the composition; else the labels of the atoms; else the one sublattice that the composition has a species on.
    """
    drawn, ideal = _drawn(doc), doc.ideal_structure
    symbols, labels = _symbols(drawn), [str(site.get("label", "")) for site in drawn["sites"]]
    if symbols == _symbols(ideal):
        frac = np.array([site["abc"] for site in ideal["sites"]], dtype=float).reshape(-1, 3)
        halves = np.count_nonzero(np.abs((frac @ np.array(doc.supercell)) % 1.0 - 0.5) < _NEAR, axis=1)
        found = [_BY_HALVES.get(int(n), "") for n in halves]
        if all(found) and (spec is None or _agree(symbols, found, spec)):
            return found
    if set(labels) <= set(_SITES):
        return labels
    homes = {symbol: site for site, of in (spec.sites if spec else {}).items() for symbol in of}
    return [homes.get(symbol, "") for symbol in symbols]


def _agree(symbols: Sequence[str], found: Sequence[str], spec: CandidateSpec) -> bool:
    return all(symbol in spec.sites.get(site, {}) for symbol, site in zip(symbols, found, strict=True))


def sublattice_counts(known: Background) -> dict[str, dict[str, int]]:
    """Return how many atoms of each species are on each sublattice of the first structure's cell."""
    doc = known.structures[0]
    counts: dict[str, Counter[str]] = {}
    for site, symbol in zip(sublattices(doc, known.spec), _symbols(_drawn(doc)), strict=True):
        counts.setdefault(site or "sites", Counter())[symbol] += 1
    return {site: dict(counts[site].most_common()) for site in sorted(counts)}


def _drawn(doc: StructureDoc) -> dict[str, Any]:
    return doc.structure if doc.structure is not None else doc.ideal_structure


def _what(structures: Sequence[StructureDoc]) -> str:
    first = structures[0]
    kind = "Relaxed" if first.structure is not None else "Ideal, not relaxed"
    several = f", the first of {len(structures)} members" if len(structures) > 1 else ""
    return f"{kind} special quasirandom structure of {first.nsites} atoms{several}"


def _symbols(structure: Mapping[str, Any]) -> list[str]:
    return [str(site["species"][0]["element"]) for site in structure["sites"]]


def _radius(label: str) -> float:
    """Return the drawn radius, in angstrom: what fills the cage is large, what holds the octahedron small."""
    return {"A": 0.75, "B": 0.42, "X": 0.28}.get(label, 0.5)


def _valence(spec: CandidateSpec, symbol: str) -> str:
    charge = spec.oxidation_states.get(symbol)
    if charge is None:
        return ""
    return ("+" if charge > 0 else "") + number(charge, 2).rstrip("0").rstrip(".")


def _with_faces(
    labels: Sequence[tuple[str, str]], frac: NDArray[np.float64], cell: NDArray[np.float64]
) -> list[tuple[tuple[str, str], tuple[float, float, float]]]:
    """Return the atoms in the cell, and the images of those on a face, an edge or a corner of it."""
    found = []
    for kind, place in zip(labels, frac, strict=True):
        moved = [[0, 1] if x < _NEAR else [0, -1] if x > 1 - _NEAR else [0] for x in place]
        found += [(kind, _rounded((place + np.array(by)) @ cell)) for by in product(*moved)]
    return found


def _octahedra(
    labels: Sequence[tuple[str, str]], frac: NDArray[np.float64], cell: NDArray[np.float64]
) -> tuple[list[tuple[int, list[list[float]], list[list[int]]]], list[tuple[int, NDArray[np.float64]]]]:
    """Return the octahedra about B with their corners and faces, and the anions at the corners with their places."""
    anions = np.array([i for i, (label, _) in enumerate(labels) if label == "X"], dtype=int)
    images = np.array(list(product((-1, 0, 1), repeat=3)), dtype=float)
    found, corners = [], []
    for centre, (label, _) in enumerate(labels):
        if label != "B" or len(anions) == 0:
            continue
        apart = (frac[anions][:, None] + images[None] - frac[centre]) @ cell
        lengths = np.linalg.norm(apart, axis=2).ravel()
        nearest = np.argsort(lengths, kind="stable")[:_CORNERS]
        vectors = apart.reshape(-1, 3)[nearest]
        places = vectors + frac[centre] @ cell
        corners += [(int(anions[n // len(images)]), place) for n, place in zip(nearest, places, strict=True)]
        # A vacant corner leaves five near anions and a sixth of another octahedron.
        if len(nearest) == _CORNERS and lengths[nearest[-1]] < 1.6 * lengths[nearest[0]]:
            found.append((centre, places.round(3).tolist(), _faces(vectors)))
    return found, corners


def _faces(corners: NDArray[np.float64]) -> list[list[int]]:
    """Return the triangles of a convex polyhedron about the origin, seen from outside counter-clockwise."""
    faces = []
    for a, b, c in combinations(range(len(corners)), 3):
        normal = np.cross(corners[b] - corners[a], corners[c] - corners[a])
        heights = (corners - corners[a]) @ normal
        if np.all(heights <= 1e-9):
            faces.append([a, b, c])
        elif np.all(heights >= -1e-9):
            faces.append([a, c, b])
    return faces


def _rounded(place: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(f"{value:.3f}") + 0.0 for value in place)
    return x, y, z
