"""From layout 1 (hemiec 0.1) to 2: hops and transport out of candidates, candidates out of campaigns.

Candidates of layout 1 held hops, transport, dynamics and the relaxed structure of every result, and said nothing of
their elements. The structure is not carried over: the next build writes the collection ``structures`` from the jobs,
and computes the energies above the hull and of interface reactions, which layout 1 did not have.
The first campaigns held the plans of all their candidates, and their jobs did not know whose they were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymatgen.core import Composition, Element

if TYPE_CHECKING:
    from hemiec.store.database import Database

Document = dict[str, Any]
VERSION = 2
_APART = ("hops", "transport", "dynamics")
_SYMBOL = re.compile("[A-Z][a-z]?")
_VACANCY = "vacancy"
#: Quantities that layout 1 did not have, with their methods.
_NEW = {"energy_above_hull": "energy above the convex hull", "interface_reaction_energy": "worst interface reaction"}


def upgrade(collection: str, document: Document) -> Document:
    """Return a document of layout 1 as layout 2 has it, what goes to other collections still in it.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is not what hemiec 0.1 wrote, or does not say what it has to.
    """
    change = {"candidates": _candidate, "references": _reference, "plans": _plan}.get(collection)
    changed = dict(document) if change is None else change(document)
    return changed | {"schema_version": VERSION}


def take_apart(collection: str, document: Document) -> dict[str, list[Document]]:
    """Return collection to documents of what :func:`upgrade` left together."""
    if collection == "candidates":
        return _parts_of_candidate(document)
    if collection == "campaigns" and "candidates" in document:
        return _parts_of_campaign(document)
    return {collection: [document]}


def mark_others(database: Database, collection: str, document: Document) -> None:
    """Change what refers to a document of layout 1: the jobs of a campaign learn whose they are."""
    if collection == "campaigns" and "candidates" in document:
        records = [*document["references"], *document.get("promotions", [])]
        records += [job for plan in document["candidates"] for job in plan["jobs"]]
        database["fireworks"].update_many(
            {"spec.hemiec.uuid": {"$in": [record["uuid"] for record in records]}},
            {"$addToSet": {"spec.hemiec.campaigns": document["name"]}},
        )


def _candidate(document: Document) -> Document:
    species = {site: set(fractions) - {_VACANCY} for site, fractions in document["candidate"]["sites"].items()}
    elements = sorted(set().union(*species.values()))
    results = []
    for result in document["results"]:
        kept = {key: value for key, value in result.items() if key != "structure"}
        hops = [{"mobile": _mobile(document, result, hop), **hop} for hop in result.get("hops", [])]
        transport = result.get("transport") or {}
        moves = hops[0]["mobile"] if hops else transport.get("mobile")
        results.append(_not_built() | kept | {"hops": hops, "mobile": moves})
    with_barrier = [result["mobile"] for result in results if result["migration_barrier"].get("value") is not None]
    about = {
        "elements": elements,
        "nelements": len(elements),
        "chemsys": "-".join(elements),
        "n_species": {site: len(names) for site, names in species.items()},
        "mobile": next((m for m in [*with_barrier, *(r["mobile"] for r in results)] if m is not None), None),
        "results": results,
    }
    return _not_built() | document | about


def _not_built() -> Document:
    """Return the quantities that layout 1 did not have."""
    reason = "built by an earlier hemiec; run `hemiec build`"
    nothing = dict.fromkeys(("std", "min", "max", "interval", "uncorrected", "calibration"))
    provenance: Document = {"protocol": None, "protocol_hash": None, "job_uuids": [], "reference_job_uuids": []}
    empty = {"value": None, "unit": "eV/atom", "n": 0, **nothing, "reason": reason, **provenance}
    return {name: {**empty, "method": method} for name, method in _NEW.items()}


def _mobile(document: Document, result: Document, hop: Document) -> str:
    """Return the species that a hop moves, which layout 1 said of the whole transport only."""
    transport = result.get("transport")
    if transport is not None:
        return str(transport["mobile"])
    anions = set(document["candidate"]["sites"]["X"]) - {_VACANCY}
    # An anion passes a pair on A and a cation on B; an ion on A passes a window of B.
    if " | " not in hop["environment"] or len(anions) != 1:
        raise ValueError("it does not say which species its hops move")
    return str(anions.pop())


def _reference(document: Document) -> Document:
    formula = document["formula"] if "formula" in document else document["formula_pretty"]
    elements = sorted(element.symbol for element in Composition(formula).elements)
    kept = {key: value for key, value in document.items() if key != "formula"}
    return kept | {
        "formula_pretty": formula,
        "elements": elements,
        "nelements": len(elements),
        "chemsys": "-".join(elements),
    }


def _plan(document: Document) -> Document:
    return {"tier": None, "stopped": None} | document


def _parts_of_candidate(document: Document) -> dict[str, list[Document]]:
    results = [{k: v for k, v in result.items() if k not in _APART} for result in document["results"]]
    parts: dict[str, list[Document]] = {"candidates": [document | {"results": results}], "hops": [], "transport": []}
    for result in document["results"]:
        key = f"{document['candidate_id']}:{result['plan_id']}"
        common = {
            "schema_version": VERSION,
            "candidate_id": document["candidate_id"],
            "plan_id": result["plan_id"],
            "label": document["candidate"]["label"],
            "input_hash": document["input_hash"],
            "last_updated": document["last_updated"],
        }
        for order, hop in enumerate(result["hops"]):
            symbols = {s for s in _SYMBOL.findall(hop["environment"]) if Element.is_valid_symbol(s)}
            about = {
                "hop_id": f"{key}:{order}",
                "order": order,
                "elements": sorted(symbols),
                "protocol": result["migration_barrier"].get("protocol"),
                "protocol_hash": result["migration_barrier"].get("protocol_hash"),
            }
            parts["hops"].append(common | hop | about)
        large = {name: result.get(name) for name in ("transport", "dynamics")}
        if any(value is not None for value in large.values()):
            parts["transport"].append(common | {"transport_id": key} | large)
    return parts


def _parts_of_campaign(document: Document) -> dict[str, list[Document]]:
    header = {key: value for key, value in document.items() if key != "candidates"}
    plans = [
        _plan(plan) | {"schema_version": VERSION, "campaign": document["name"], "order": order}
        for order, plan in enumerate(document["candidates"])
    ]
    return {"plans": plans, "campaigns": [{"promotions": []} | header | {"n_candidates": len(plans)}]}
