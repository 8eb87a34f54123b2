"""Patterns of abstract species that serve every choice of elements: shipped, cached on disk, or searched now."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from hemiec.files import write_whole
from hemiec.structures.cells import Rows, Shape, cubic_shapes, inequivalent_shapes, most_compact, well_shaped
from hemiec.structures.icet_score import IcetScorer
from hemiec.structures.parent import IntArray, Parent, Supercell, cubic_perovskite
from hemiec.structures.problem import Problem
from hemiec.structures.search import QUALITIES, search
from hemiec.structures.tilts import TILTS, commensurate

logger = logging.getLogger(__name__)

#: Raise it when the engine's answers change: cached patterns of older versions are then not used.
ENGINE_VERSION = 3
#: Lattice parameter of the cells that are searched and scored, in angstrom; correlations do not depend on it.
UNIT = 4.0
#: icet's cutoffs in units of a: pairs to just past the fourth shell of the parent, triplets just past the second.
CUTOFFS = (2.05, 1.45)


@dataclass(frozen=True)
class TemplateKey:
    """Everything that decides which patterns are found.

    Parameters
    ----------
    amounts
        Mixed sublattice and the number of sites of each abstract species: falling, or for icet's L1, which depends
        on the order of species, by atomic number.
    n_units
        Formula units.
    shape
        free or compact.
    min_image_squared
        Smallest squared length of a periodic image, in units of a squared (lattice vectors are whole numbers).
    quality
        Effort of the search.
    tilt
        Tilt system that the shape must hold, or none.
    objective
        warren-cowley or icet-l1.
    """

    amounts: tuple[tuple[str, tuple[int, ...]], ...]
    n_units: int
    shape: str
    min_image_squared: int
    quality: str
    tilt: str
    objective: str

    @cached_property
    def name(self) -> str:
        """Content hash; the name of the file in the cache."""
        text = json.dumps([ENGINE_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class Template:
    """One pattern of abstract species."""

    rows: Rows
    occupation: IntArray
    error: float


@dataclass(frozen=True, eq=False)
class Templates:
    """Patterns of one key, the best first."""

    patterns: list[Template]
    n_runs: int
    truncated: bool
    origin: str


def templates(key: TemplateKey, *, cache: Path | None, budget_s: float | None = None, n_cores: int = 1) -> Templates:
    """Return the patterns of a key: those shipped with the package, else the cached ones, else searched now.

    Shipped patterns come from the best search and serve every quality. A search that a time budget cut short is
    not cached.

    Parameters
    ----------
    key
        What is asked for.
    cache
        Folder of cached patterns; None to neither read nor write.
    budget_s
        Wall time of a search, in s.
    n_cores
        Threads of a search.
    """
    shipped = _shipped().get(replace(key, quality="best").name)
    if shipped is not None:
        return _parse(shipped, "shipped")
    if cache is not None and (stored := _read(cache / f"{key.name}.json", key)) is not None:
        return stored
    found = find_templates(key, budget_s=budget_s, n_cores=n_cores)
    if cache is not None and not found.truncated:
        _write(cache / f"{key.name}.json", key, found)
    return found


def find_templates(key: TemplateKey, *, budget_s: float | None = None, n_cores: int = 1) -> Templates:
    """Search the patterns of a key."""
    amounts = dict(key.amounts)
    parent = scoring_parent()
    problems = [
        Problem.of_shells(Supercell(parent, shape.rows), amounts)
        for shape in allowed_shapes(
            key.n_units, shape=key.shape, min_image_squared=key.min_image_squared, tilt=key.tilt
        )[: QUALITIES[key.quality].n_shapes]
    ]
    system = scorer(tuple((s, len(n)) for s, n in key.amounts)).l1_system if key.objective == "icet-l1" else None
    found = search(problems, quality=key.quality, budget_s=budget_s, n_cores=n_cores, system=system)
    patterns = [Template(_rows(problems[p.shape].supercell.rows), p.occupation, p.error) for p in found.patterns]
    return Templates(patterns, found.n_runs, found.truncated, "search")


@lru_cache(maxsize=1)
def scoring_parent() -> Parent:
    """Return the cubic perovskite in which everything is searched and scored."""
    return cubic_perovskite(UNIT)


@lru_cache(maxsize=32)
def scorer(n_species: tuple[tuple[str, int], ...]) -> IcetScorer:
    """Return icet's scorer for mixed sublattices with so many species each."""
    return IcetScorer(scoring_parent(), dict(n_species), [c * UNIT for c in CUTOFFS])


@lru_cache(maxsize=64)
def problem(rows: Rows, amounts: tuple[tuple[str, tuple[int, ...]], ...]) -> Problem:
    """Return the search problem of one cell."""
    return Problem.of_shells(Supercell(scoring_parent(), rows), dict(amounts))


@lru_cache(maxsize=256)
def allowed_shapes(n_units: int, *, shape: str, min_image_squared: int, tilt: str) -> tuple[Shape, ...]:
    """Return the shapes to search, the most promising first.

    Parameters
    ----------
    n_units
        Formula units.
    shape
        free, or compact for the one with the most distant periodic images.
    min_image_squared
        Smallest squared length of a periodic image, in units of a squared; if no shape reaches it, the longest.
    tilt
        Tilt system of which the cell must hold whole periods, or none.
    """
    if tilt == "none":
        shapes = cubic_shapes(n_units)
    else:
        # The shipped table holds the best shapes, of which few hold whole periods of the tilts.
        shapes = commensurate(inequivalent_shapes(n_units, scoring_parent(), sublattice="A"), TILTS[tilt])
    return (most_compact(shapes),) if shape == "compact" else well_shaped(shapes, min_image_squared**0.5)


def _rows(rows: IntArray) -> Rows:
    a, b, c = ((int(row[0]), int(row[1]), int(row[2])) for row in rows)
    return a, b, c


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, Any]]:
    stored = json.loads(files("hemiec.structures").joinpath("templates.json").read_text())
    return stored["templates"] if stored["engine"] == ENGINE_VERSION else {}


def _parse(stored: Mapping[str, Any], origin: str) -> Templates:
    patterns = [
        Template(
            _rows(np.array(p["rows"])), np.frombuffer(bytes.fromhex(p["occupation"]), dtype=np.uint8).astype(np.int64),
            float(p["error"]),
        )
        for p in stored["patterns"]
    ]  # fmt: skip
    return Templates(patterns, int(stored["n_runs"]), truncated=False, origin=origin)


def as_stored(key: TemplateKey, found: Templates) -> dict[str, Any]:
    """Return what a file holds of the patterns of one key."""
    return {
        "key": asdict(key),
        "n_runs": found.n_runs,
        "patterns": [
            {"rows": p.rows, "occupation": p.occupation.astype(np.uint8).tobytes().hex(), "error": round(p.error, 9)}
            for p in found.patterns
        ],
    }


def _read(path: Path, key: TemplateKey) -> Templates | None:
    try:
        found = _parsed(path, path.stat().st_mtime_ns)
        amounts = [n for _, species in key.amounts for n in species]
        expected = np.repeat(np.arange(len(amounts)), amounts)
        if not found.patterns or any(not np.array_equal(np.sort(p.occupation), expected) for p in found.patterns):
            raise ValueError("its patterns are not those of its key")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: cannot be read (%s); the patterns are searched again.", path, error)
        return None


@lru_cache(maxsize=64)
def _parsed(path: Path, changed: int) -> Templates:  # `changed`: a file that is replaced is read again
    return _parse(json.loads(path.read_text()), "cache")


def _write(path: Path, key: TemplateKey, found: Templates) -> None:
    """Write in one step; a cache that cannot be written costs time, not the result."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(as_stored(key, found)))
    except OSError as error:
        logger.warning("%s: cannot be written (%s); the patterns will be searched again.", path, error)
