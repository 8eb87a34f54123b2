"""The special quasirandom structures of a plan, ideal and relaxed, as the builder stores them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import gcd
from string import ascii_uppercase

from pymatgen.core import Composition, Element
from scipy.constants import atomic_mass

from hemiec.schemas.stored import StructureDoc
from hemiec.store.building.plan import Plan

#: g/cm^3 of an atomic mass unit per cubic angstrom.
_AMU_PER_CUBIC_ANGSTROM = atomic_mass * 1e27


@dataclass(frozen=True)
class _Composition:
    """What a cell's elements say of it; mass in atomic mass units."""

    formula_pretty: str
    formula_anonymous: str
    elements: tuple[str, ...]
    mass: float


def structure_docs(plan: Plan, input_hash: str, last_updated: datetime) -> list[StructureDoc]:
    """Return a document for every structure of a plan whose SQS job has finished."""
    documents = []
    for job in plan.jobs:
        step, _, member = str(job["step"]).partition(".")
        sqs = plan.output(job["step"]) if step == "sqs" else None
        if sqs is None:
            continue
        suffix = f".{member}" if member else ""
        number = int(member or 1) - 1
        basin, relax_job = plan.output(f"basin{suffix}"), plan.job(f"basin{suffix}")
        # Structures are read as the plain documents they are: pymatgen's objects take longer than all the rest.
        symbols = [
            site["species"][0]["element"] for site in (basin["structure"] if basin else sqs["ideal_structure"])["sites"]
        ]
        composition = _composition(tuple(sorted(Counter(symbols).items())))
        volume = _volume(basin["structure"]["lattice"]["matrix"]) if basin else None
        documents.append(
            StructureDoc(
                structure_id=f"{plan.candidate.candidate_id}:{plan.plan_id}:{number}",
                candidate_id=plan.candidate.candidate_id,
                plan_id=plan.plan_id,
                label=plan.candidate.label,
                member=number,
                formula_pretty=composition.formula_pretty,
                formula_anonymous=composition.formula_anonymous,
                chemsys="-".join(composition.elements),
                elements=list(composition.elements),
                nelements=len(composition.elements),
                nsites=len(symbols),
                ideal_structure=sqs["ideal_structure"],
                structure=basin["structure"] if basin else None,
                volume=volume,
                density=_AMU_PER_CUBIC_ANGSTROM * composition.mass / volume if volume else None,
                energy_per_atom=basin["energy_per_atom"] if basin else None,
                max_force=basin["max_force"] if basin else None,
                tilt=basin.get("tilt") if basin else None,
                supercell=sqs["supercell"],
                shortest_image_distance=sqs["shortest_image_distance"],
                net_charge=sqs["net_charge"],
                rounding=sqs["rounding"],
                warren_cowley_rms=sqs["warren_cowley_rms"],
                icet_l1=sqs["icet_l1"],
                seed=sqs["seed"],
                notes=sqs.get("notes", []),
                sqs_job_uuid=job["uuid"],
                relax_job_uuid=relax_job["uuid"] if basin and relax_job else None,
                protocol=relax_job["protocol"] if basin and relax_job else None,
                protocol_hash=relax_job["protocol_hash"] if basin and relax_job else None,
                versions=sqs["versions"] | (basin.get("versions", {}) if basin else {}),
                input_hash=input_hash,
                last_updated=last_updated,
            )
        )
    return documents


@lru_cache(maxsize=4096)
def _composition(amounts: tuple[tuple[str, int], ...]) -> _Composition:
    counts = sorted(n for _, n in amounts)
    divisor = gcd(*counts)
    letters = zip(ascii_uppercase, (n // divisor for n in counts), strict=False)
    return _Composition(
        formula_pretty=Composition(dict(amounts)).reduced_formula,
        # As pymatgen writes it, in a tenth of the time.
        formula_anonymous="".join(f"{letter}{n if n > 1 else ''}" for letter, n in letters),
        elements=tuple(symbol for symbol, _ in amounts),
        mass=sum(n * float(Element(symbol).atomic_mass) for symbol, n in amounts),
    )


def _volume(rows: Sequence[Sequence[float]]) -> float:
    """Return the volume of a cell from its vectors, in angstrom^3."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
