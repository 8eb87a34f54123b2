"""Candidates and their structures as flat OPTIMADE entries: the collection `optimade`.

OPTIMADE filters and sorts by top-level fields only, and a MongoDB view that computes them has no indexes, so entries
are written when a candidate is built. Fields without a value are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, lru_cache
from itertools import groupby, islice
from math import gcd, lcm
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from pymongo import ASCENDING, DeleteMany, ReplaceOne

from hemiec.composition.charge import SITE_MULTIPLICITY
from hemiec.composition.fractions import VACANCY
from hemiec.schemas.documents import CandidateSpec
from hemiec.store.building.literature import relationships
from hemiec.store.building.optimade_fields import Source, provider_fields
from hemiec.store.database import Database, Document

COLLECTION, KEY = "optimade", "id"
#: Characters of the hash of what an entry was built from in its `immutable_id`.
_HASH_LENGTH = 16
_BATCH = 500


def optimade_entries(candidate: Document, structures: Sequence[Document]) -> list[Document]:
    """Return the OPTIMADE entries of a candidate: itself, disordered, and each of its structures.

    Parameters
    ----------
    candidate
        As it is in `candidates`.
    structures
        Those of the candidate, as they are in `structures`.
    """
    about = _provided("candidate", candidate)
    results = {result["plan_id"]: result for result in candidate["results"]}
    return [
        _of_candidate(candidate, structures) | about,
        *(_of_structure(structure, results.get(structure["plan_id"], {})) | about for structure in structures),
    ]


def fill(database: Database, candidate_ids: Collection[str] | None = None) -> int:
    """Write the OPTIMADE entries of candidates that are in the store, and return how many there are.

    Entries of structures that a candidate no longer has are removed. The builder keeps entries in step by itself; this
    is for stores that were filled in another way.

    Parameters
    ----------
    database
        The store.
    candidate_ids
        Of these candidates; default all.
    """
    where: Document = {} if candidate_ids is None else {"candidate_id": {"$in": list(candidate_ids)}}
    found = database["candidates"].find(where, {"_id": 0}).sort("candidate_id", ASCENDING)
    written = 0
    while batch := list(islice(found, _BATCH)):
        entries = list(_entries_of(database, batch))
        ours = {"candidate_id": {"$in": [candidate["candidate_id"] for candidate in batch]}}
        operations = [ReplaceOne({KEY: entry[KEY]}, entry, upsert=True) for entry in entries]
        stale = DeleteMany(ours | {KEY: {"$nin": [entry[KEY] for entry in entries]}})
        database[COLLECTION].bulk_write([*operations, stale], ordered=False)
        written += len(entries)
    return written


def _entries_of(database: Database, candidates: Sequence[Document]) -> Iterator[Document]:
    ids = [candidate["candidate_id"] for candidate in candidates]
    found = database["structures"].find({"candidate_id": {"$in": ids}}, {"_id": 0})
    ordered = found.sort([("candidate_id", ASCENDING), ("structure_id", ASCENDING)])
    structures = {key: list(group) for key, group in groupby(ordered, key=lambda s: s["candidate_id"])}
    for candidate in candidates:
        yield from optimade_entries(candidate, structures.get(candidate["candidate_id"], []))


def _of_candidate(candidate: Document, structures: Sequence[Document]) -> Document:
    sites = {site: {s: _ratio(x) for s, x in at.items()} for site, at in candidate["candidate"]["sites"].items()}
    volume = _relaxed_volume(candidate, structures)
    if volume is None:
        # It loads numba, which a store whose cells are relaxed does not need.
        from hemiec.structures.plan import lattice_parameter

        geometry, a = "ionic_radii", lattice_parameter(CandidateSpec.model_validate(candidate["candidate"]))
    else:
        geometry, a = "relaxed_volume", volume ** (1 / 3)
    species, positions = [], []
    # A species for every site, though three are equal: pymatgen's client wants one each, in the order of the sites.
    for name, site, position in _CUBIC:
        symbols = sites[site]
        concentration = [part / whole for part, whole in symbols.values()]
        species.append({"name": name, "chemical_symbols": list(symbols), "concentration": concentration})
        positions.append([a * x for x in position])
    scale = lcm(*(whole for symbols in sites.values() for _, whole in symbols.values()))
    amounts: Counter[str] = Counter()
    for site, symbols in sites.items():
        for symbol, (part, whole) in symbols.items():
            amounts[symbol] += part * (scale // whole) * SITE_MULTIPLICITY[site]
    del amounts[VACANCY]
    return {
        KEY: candidate["candidate_id"],
        **_common(candidate, "disordered", candidate["candidate_id"]),
        **_composition(amounts),
        "chemical_formula_descriptive": candidate["candidate"]["formula"],
        **_cell([[a, 0.0, 0.0], [0.0, a, 0.0], [0.0, 0.0, a]], positions, [name for name, _, _ in _CUBIC], species),
        "structure_features": ["disorder"] if any(len(symbols) > 1 for symbols in sites.values()) else [],
        **_provided("entry", {"kind": "disordered", "geometry": geometry}),
        **_provided("result", candidate),
    }


def _of_structure(structure: Document, result: Document) -> Document:
    relaxed = structure["structure"] is not None
    cell = structure["structure" if relaxed else "ideal_structure"]
    at_sites = [site["species"][0]["element"] for site in cell["sites"]]
    # In the order of the sites: should there be as many species as sites, pymatgen's client takes them for these.
    species = [{"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in dict.fromkeys(at_sites)]
    amounts = Counter(at_sites)
    return {
        KEY: structure["structure_id"],
        **_common(structure, "sqs", structure["structure_id"]),
        **_composition(amounts),
        "chemical_formula_descriptive": "".join(f"{s}{n if n > 1 else ''}" for s, n in amounts.items()),
        **_cell(cell["lattice"]["matrix"], [site["xyz"] for site in cell["sites"]], at_sites, species),
        "structure_features": [],
        **_provided("entry", {"kind": "sqs", "geometry": "relaxed" if relaxed else "ideal"}),
        **_provided("result", result),
        **_provided("structure", structure),
    }


#: Name, sublattice and fractional coordinates of the sites of the cubic perovskite cell.
_CUBIC = (
    ("A", "A", (0.5, 0.5, 0.5)),
    ("B", "B", (0.0, 0.0, 0.0)),
    ("X1", "X", (0.5, 0.0, 0.0)),
    ("X2", "X", (0.0, 0.5, 0.0)),
    ("X3", "X", (0.0, 0.0, 0.5)),
)


def _relaxed_volume(candidate: Document, structures: Sequence[Document]) -> float | None:
    """Return the mean volume per formula unit of relaxed structures, in angstrom^3, of the first result with some."""
    plans = [result["plan_id"] for result in candidate["results"]]
    for plan_id in dict.fromkeys([*plans, *(structure["plan_id"] for structure in structures)]):
        volumes = [
            structure["volume"] / _units(structure["supercell"])
            for structure in structures
            if structure["plan_id"] == plan_id and structure["volume"] is not None
        ]
        if volumes:
            return sum(volumes) / len(volumes)
    return None


@lru_cache(maxsize=4096)
def _ratio(fraction: str) -> tuple[int, int]:
    """Return a site fraction such as 1/5 as two integers; there are few different ones."""
    return Fraction(fraction).as_integer_ratio()


def _units(rows: Sequence[Sequence[int]]) -> int:
    """Return how many cubic cells a supercell holds: the determinant of its rows."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _common(document: Document, kind: str, name: str) -> Document:
    when = document["last_updated"]
    moment = when if isinstance(when, datetime) else datetime.fromisoformat(when)
    return {
        # Not shown; the store keeps what belongs to a candidate together by them.
        **{key: document[key] for key in ("candidate_id", "schema_version", "last_updated")},
        "type": "structures",
        "immutable_id": f"{name}@{document['input_hash'][:_HASH_LENGTH]}",
        # OPTIMADE's times are in whole seconds; what is shown must be what a filter finds.
        "last_modified": moment.astimezone(UTC).replace(microsecond=0),
        "relationships": relationships(kind),
    }


def _composition(amounts: Mapping[str, int]) -> Document:
    """Return what follows from the amounts of the elements in a cell, or in some formula units."""
    elements = sorted(amounts)
    divisor = gcd(*amounts.values())
    counts = [amounts[element] // divisor for element in elements]
    total = sum(counts)
    return {
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [count / total for count in counts],
        "chemical_formula_reduced": _formula(elements, counts),
        "chemical_formula_anonymous": _formula(_letters(len(counts)), sorted(counts, reverse=True)),
    }


def _cell(lattice: Any, positions: Any, species_at_sites: list[str], species: list[Document]) -> Document:
    return {
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": lattice,
        "cartesian_site_positions": positions,
        "nsites": len(species_at_sites),
        "species": species,
        "species_at_sites": species_at_sites,
    }


def _provided(source: Source, document: Document) -> Document:
    """Return the provider fields that a document has."""
    found = {}
    for way, fields in _paths(source):
        inner: Any = document
        for key in way:
            inner = inner.get(key) if inner else None
        for name, last in fields if inner else ():
            value = inner[last] if isinstance(last, int) else inner.get(last)
            if value is not None:
                found[name] = value
    return found


@cache
def _paths(source: Source) -> tuple[tuple[tuple[str | int, ...], tuple[tuple[str, str | int], ...]], ...]:
    """Return the fields of a source by the way to the document or list in which they are."""
    ordered = sorted((field for field in provider_fields() if field.source == source), key=lambda f: str(f.path[:-1]))
    grouped = groupby(ordered, key=lambda field: field.path[:-1])
    return tuple((way, tuple((field.name, field.path[-1]) for field in fields)) for way, fields in grouped)


def _formula(symbols: Sequence[str], counts: Sequence[int]) -> str:
    pairs = zip(symbols, counts, strict=True)
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in pairs)


def _letters(n: int) -> list[str]:
    """Return the first names of OPTIMADE's anonymous elements: A to Z, then Aa to Za, Ab to Zb and so on."""
    names = (f"{upper}{lower}" for lower in ("", *ascii_lowercase) for upper in ascii_uppercase)
    return list(islice(names, n))
