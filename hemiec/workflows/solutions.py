"""Several magnetic starts of one DFT calculation, and the solution of lowest energy among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any, Literal

from jobflow import Flow, Job, Maker, job

from hemiec.engines.makers import gap_maker, starts_for, static_maker
from hemiec.engines.protocol import DftProtocol
from hemiec.engines.settings import GIVEN_START
from hemiec.errors import NotConvergedError
from hemiec.schemas.calculations import CalculationDoc, GapDoc, GapStart
from hemiec.workflows.identity import identify

#: Kind of the collecting job to kind of the calculations that it collects.
_PART = {"gap": "gap-start", "static": "static-start", "reference-static": "reference-start"}


@dataclass
class LowestSolutionMaker(Maker):
    """Keep the magnetic solution of lowest energy, with a record of all that were tried.

    Parameters
    ----------
    name
        Job name.
    """

    name: str = "lowest magnetic solution"

    @job
    def make(self, starts: list[str | None], uuids: list[str], found: list[dict[str, Any] | None]) -> dict[str, Any]:
        """Return a GapDoc for the calculation of each start; one that failed is None.

        Raises
        ------
        NotConvergedError
            If none has a result.
        """
        documents = [None if doc is None else CalculationDoc.model_validate(doc) for doc in found]
        return lowest_solution(starts, uuids, documents).to_mongo()


def lowest_solution(
    starts: Sequence[str | None], uuids: Sequence[str], found: Sequence[CalculationDoc | None]
) -> GapDoc:
    """Return the lowest of several solutions of one structure, and the spread of the gap over them."""
    done = sorted((doc.energy, n) for n, doc in enumerate(found) if doc is not None)
    if not done:
        raise NotConvergedError(
            f"none of the magnetic starts ({', '.join(str(s) for s in starts)}) has a result.",
            mend="`hemiec errors` says why each failed",
        )
    order = [n for _, n in done] + [n for n, doc in enumerate(found) if doc is None]
    records = []
    for n in order:
        doc = found[n]
        electronic = doc.electronic if doc else None
        records.append(
            GapStart(
                magnetic_start=starts[n],
                energy=doc.energy if doc else None,
                band_gap=electronic.band_gap if electronic else None,
                total_moment=electronic.total_moment if electronic else None,
                job_uuid=uuids[n],
                reason=None if doc else "failed",
            )
        )
    lowest = found[order[0]]
    assert lowest is not None and lowest.electronic is not None
    gaps = [record.band_gap for record in records if record.band_gap is not None]
    return GapDoc(
        band_gap=lowest.electronic.band_gap,
        lowest=lowest,
        starts=records,
        spread=stdev(gaps) if len(gaps) > 1 else None,
    )


def solution_jobs(
    kind: Literal["gap", "static", "reference-static"],
    protocol: DftProtocol,
    species: Sequence[str],
    structure: Any,
    inputs: dict[str, Any],
    *,
    supercell: Any = None,
    given: bool = False,
    priority: int,
    metadata: dict[str, Any],
) -> tuple[list[Job | Flow], Job]:
    """Return the calculations of one structure from each magnetic start, and the job that keeps the lowest.

    Parameters
    ----------
    kind
        What is computed, and the step's name.
    protocol
        DFT protocol; its spin settings say which starts.
    species
        Symbol of every site, which decides the starts that apply.
    structure
        Structure, or reference to one.
    inputs
        What decides the structure: uuids of the jobs that it comes from.
    supercell
        Cell vectors in units of the cubic parent's, or reference to them.
    given
        Whether the starting moments stand in the structure (site property ``magmom``): then there is one start.
    priority, metadata
        As :func:`identify` takes them.
    """
    starts: list[str | None] = [GIVEN_START] if given else list(starts_for(species, protocol.spin)) or [None]
    about = (protocol.name, protocol.hash)
    make = gap_maker if kind == "gap" else static_maker
    calculations = []
    for start in starts:
        label = start or "no spin"
        calculation = make(protocol, name=f"{kind} {label}", start=start).make(structure, supercell)
        identify(
            calculation,
            _PART[kind],
            {**inputs, "start": start},
            step=f"{kind}-{start or 'unpolarised'}",
            priority=priority,
            protocol=about,
            resources=protocol.resources,
            metadata=metadata,
        )
        calculations.append(calculation)
    uuids = [c.output.uuid for c in calculations]
    lowest = LowestSolutionMaker(name=kind).make(starts, uuids, [c.output for c in calculations])
    identify(
        lowest,
        kind,
        {"solutions": uuids},
        step=kind,
        priority=priority,
        protocol=about,
        metadata=metadata,
        despite_failures=True,
    )
    return calculations, lowest
