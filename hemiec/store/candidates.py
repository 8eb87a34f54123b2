"""Candidates in the store: a small document each, with what is large in collections of its own.

``candidates`` holds what is queried and ranked; the rest lies in ``hops`` (one document per hop), ``transport`` and
``thermodynamics`` (one per result each). :func:`documents_of` takes a candidate apart, :func:`read_candidates` puts it
together.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache

from pydantic import ValidationError
from pymatgen.core import Composition, Element
from pymongo import ASCENDING

from hemiec.composition.fractions import VACANCY
from hemiec.errors import StoreError
from hemiec.schemas.documents import APART, CandidateDoc, CandidateSpec
from hemiec.schemas.stored import HopDoc, ThermodynamicsDoc, TransportDoc
from hemiec.schemas.transport import HopSummary
from hemiec.store.database import Database, Document
from hemiec.store.layout.migrations import upgrade, version_of

_SYMBOL = re.compile("[A-Z][a-z]?")
_BATCH = 500
#: Collection with one document per result to the fields of a result that are in it.
_PARTS_OF_RESULTS = {"transport": ("transport", "dynamics"), "thermodynamics": ("thermodynamics",)}
#: Called with the id of a document that is left out, and the reason.
Report = Callable[[str, str], object]


def composition_of(spec: CandidateSpec) -> Document:
    """Return what a candidate says of its composition, in emmet's names, beside `n_species`."""
    species = {site: set(fractions) - {VACANCY} for site, fractions in spec.sites.items()}
    elements = sorted(set().union(*species.values()))
    return {
        "elements": elements,
        "nelements": len(elements),
        "chemsys": "-".join(elements),
        "n_species": {site: len(names) for site, names in species.items()},
    }


def formula_composition(formula: str) -> Document:
    """Return what a document of an ordered phase says of its composition, in emmet's names."""
    elements = sorted(element.symbol for element in Composition(formula).elements)
    return {
        "formula_pretty": formula,
        "elements": elements,
        "nelements": len(elements),
        "chemsys": "-".join(elements),
    }


def documents_of(candidate: CandidateDoc) -> dict[str, list[Document]]:
    """Return collection to documents: ``candidates``, with the one candidate, and those of its parts."""
    hops, transport, thermodynamics = [], [], []
    for result in candidate.results:
        common = {
            "candidate_id": candidate.candidate_id,
            "plan_id": result.plan_id,
            "label": candidate.candidate.label,
            "input_hash": candidate.input_hash,
            "last_updated": candidate.last_updated,
        }
        key = f"{candidate.candidate_id}:{result.plan_id}"
        for order, hop in enumerate(result.hops):
            about = {
                "hop_id": f"{key}:{order}",
                "order": order,
                "elements": _elements_in(hop.environment),
                "protocol": result.migration_barrier.protocol,
                "protocol_hash": result.migration_barrier.protocol_hash,
            }
            hops.append(HopDoc.model_validate(common | hop.model_dump() | about))
        if result.transport is not None or result.dynamics is not None:
            parts: Document = {"transport_id": key, "transport": result.transport, "dynamics": result.dynamics}
            transport.append(TransportDoc.model_validate(common | parts))
        if result.thermodynamics is not None:
            parts = {"thermodynamics_id": key, "thermodynamics": result.thermodynamics}
            thermodynamics.append(ThermodynamicsDoc.model_validate(common | parts))
    return {
        "candidates": [candidate.model_dump(mode="json", exclude={"results": {"__all__": APART}})],
        "hops": [doc.to_mongo() for doc in hops],
        "transport": [doc.to_mongo() for doc in transport],
        "thermodynamics": [doc.to_mongo() for doc in thermodynamics],
    }


@cache
def _elements_in(environment: str) -> list[str]:
    """Return the elements that an environment such as 'La-Sr | Co' names; there are few different ones."""
    return sorted(symbol for symbol in set(_SYMBOL.findall(environment)) if Element.is_valid_symbol(symbol))


def read_candidates(
    database: Database, where: Document | None = None, *, whole: bool = True, report: Report | None = None
) -> Iterator[CandidateDoc]:
    """Yield candidates in the order of their ids; those of an older layout are brought to this one.

    Parameters
    ----------
    database
        The store.
    where
        A MongoDB filter on `candidates`; default all. It must not come from outside.
    whole
        Whether hops, transport, dynamics and thermodynamics are read too.
    report
        Called with the id of a candidate that cannot be read or is of a newer layout, and the reason; it is then left
        out. Without it, that is an error.

    Raises
    ------
    StoreError
        If a candidate was stored in a layout that cannot be read, and nobody is told of it.
    """
    found = database["candidates"].find(where or {}, {"_id": 0}).sort("candidate_id", ASCENDING)
    batch: list[Document] = []
    for document in found:
        batch.append(document)
        if len(batch) == _BATCH:
            yield from _joined(database, batch, whole, report)
            batch = []
    yield from _joined(database, batch, whole, report)


def _joined(
    database: Database, documents: list[Document], whole: bool, report: Report | None
) -> Iterator[CandidateDoc]:
    hops: dict[tuple[str, str], list[Document]] = defaultdict(list)
    apart: dict[tuple[str, str], Document] = defaultdict(dict)
    if whole and documents:
        of_these = {"candidate_id": {"$in": [document["candidate_id"] for document in documents]}}
        for hop in database["hops"].find(of_these, {"_id": 0}).sort("order", ASCENDING):
            known = {key: value for key, value in hop.items() if key in HopSummary.model_fields}
            hops[hop["candidate_id"], hop["plan_id"]].append(known)
        for name, fields in _PARTS_OF_RESULTS.items():
            for found in database[name].find(of_these, {"_id": 0}):
                apart[found["candidate_id"], found["plan_id"]] |= {field: found[field] for field in fields}
    for document in documents:
        try:
            candidate = _validated(document, hops if whole else None, apart)
        except StoreError as error:
            if report is None:
                raise
            report(str(document.get("candidate_id")), error.message)
        else:
            yield candidate


def _validated(
    document: Document, hops: dict[tuple[str, str], list[Document]] | None, apart: dict[tuple[str, str], Document]
) -> CandidateDoc:
    """Return a candidate with its parts; those of the first layout are in its own document."""
    upgraded = upgrade("candidates", document)
    parts_inside = version_of(document) == 1
    try:
        for result in upgraded["results"]:
            key = upgraded["candidate_id"], result["plan_id"]
            if hops is None:
                for name in APART & result.keys():
                    del result[name]
            elif not parts_inside:
                result |= {"hops": hops.get(key, []), **apart.get(key, {})}
        return CandidateDoc.model_validate({k: v for k, v in upgraded.items() if k in CandidateDoc.model_fields})
    except (ValidationError, KeyError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise StoreError(
            f"candidate {document.get('candidate_id')}: stored by another version of hemiec ({reason}).",
            mend="run `hemiec build`",
        ) from error
