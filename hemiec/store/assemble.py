"""From the outputs of a candidate's jobs to its numbers, each with unit, method and provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Composition

from hemiec.composition.fractions import VACANCY
from hemiec.engines.protocol import MlipProtocol, load_mlip
from hemiec.errors import HemiecError, ThermoError
from hemiec.schemas.documents import NOT_ASKED, CandidateResult, CandidateSpec, GapDoc, HopSummary, JobRecord
from hemiec.schemas.quantity import Quantity
from hemiec.thermo.formation import FormationEnergy, from_elements, from_oxides
from hemiec.units import EV, EV_PER_ATOM

Output = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """The jobs of one candidate in one campaign, with what is known of each.

    ``outputs`` maps job uuid to JobStore document, ``failures`` job uuid to the last line of its error,
    ``references`` phase_id to the record of its job.
    """

    plan_id: str
    candidate: CandidateSpec
    jobs: list[dict[str, Any]]
    references: dict[str, dict[str, Any]]
    outputs: Mapping[str, Output]
    failures: Mapping[str, str]
    relax_protocol: str

    def job(self, step: str) -> dict[str, Any] | None:
        """Return the record of the job of a step, or None if the plan has no such step."""
        return next((job for job in self.jobs if job["step"] == step), None)

    def output(self, step: str) -> dict[str, Any] | None:
        """Return what the job of a step returned, or None if it has not finished."""
        job = self.job(step)
        document = self.outputs.get(job["uuid"]) if job else None
        return document["output"] if document else None

    def why_missing(self, step: str) -> str:
        """Return why the job of a step has no output."""
        job = self.job(step)
        if job is None:
            return NOT_ASKED
        if job["uuid"] in self.failures:
            return f"job {job['uuid']} failed: {self.failures[job['uuid']]}"
        return f"job {job['uuid']} ({job['name']}) has not finished"


def assemble(plan: Plan) -> CandidateResult:
    """Return everything that a plan's finished jobs say about its candidate."""
    sqs, basin = plan.output("sqs"), plan.output("basin")
    hops = _hops(plan)
    from_e, _ = _formation(plan, from_elements, "formation energy from the elements")
    from_o, reaction = _formation(plan, from_oxides, "formation enthalpy from binary oxides at 0 K")
    return CandidateResult(
        plan_id=plan.plan_id,
        band_gap=_band_gap(plan),
        migration_barrier=_barrier(plan, hops),
        formation_energy_per_atom=from_e,
        formation_enthalpy_from_oxides_per_atom=from_o,
        oxide_reaction=reaction,
        energy_per_atom=basin["energy_per_atom"] if basin else None,
        volume_per_atom=basin["structure"]["lattice"]["volume"] / len(basin["structure"]["sites"]) if basin else None,
        structure=basin["structure"] if basin else None,
        n_atoms=sqs["n_atoms"] if sqs else None,
        shortest_image_distance=sqs["shortest_image_distance"] if sqs else None,
        warren_cowley_rms=sqs["warren_cowley_rms"] if sqs else None,
        icet_l1=sqs["icet_l1"] if sqs else None,
        hops=hops,
        jobs=[_record(plan, job) for job in plan.jobs],
        versions=_versions(plan),
    )


def _band_gap(plan: Plan) -> Quantity:
    job, output = plan.job("gap"), plan.output("gap")
    if job is None or output is None:
        return Quantity(value=None, unit=EV, method="band gap", reason=plan.why_missing("gap"))
    gap = GapDoc.model_validate(output)
    return Quantity(
        value=gap.band_gap,
        unit=EV,
        method=f"{gap.functional}+U, spin-polarised, GPAW plane waves {gap.cutoff_eV:g} eV ({gap.protocol}); "
        "0 means metal or not resolved by the smearing",
        n=1,
        protocol=gap.protocol,
        protocol_hash=gap.protocol_hash,
        job_uuids=[job["uuid"]],
    )


def _hops(plan: Plan) -> list[HopSummary]:
    summaries = []
    walk = plan.output("walk")
    for job in plan.jobs:
        if job["kind"] != "hop":
            continue
        number = int(job["step"].split("-")[1])
        environment = walk["hops"][number - 1]["environment"] if walk else f"hop {number}"
        output = plan.output(job["step"])
        summaries.append(
            HopSummary(
                environment=environment,
                forward_barrier=output["forward_barrier"] if output else None,
                reverse_barrier=output["reverse_barrier"] if output else None,
                reaction_coordinate=output["reaction_coordinate"] if output else [],
                energies=output["energies"] if output else [],
                reason=None if output else plan.why_missing(job["step"]),
                job_uuid=job["uuid"],
            )
        )
    return summaries


def _barrier(plan: Plan, hops: list[HopSummary]) -> Quantity:
    done = [hop for hop in hops if hop.forward_barrier is not None and hop.reverse_barrier is not None]
    jobs = [job for job in plan.jobs if job["kind"] == "hop"]
    method = (
        "median of forward and reverse barriers of single vacancy hops, improved-tangent band and minimum-mode saddle"
    )
    if not jobs:
        return Quantity(value=None, unit=EV, method=method, reason=NOT_ASKED)
    protocol = load_mlip(jobs[0]["protocol"])
    method += f" with {protocol.model.force_field} ({protocol.name}), std over both directions"
    if not done:
        return Quantity(value=None, unit=EV, method=method, reason=hops[0].reason)
    barriers = np.array([b for hop in done for b in (hop.forward_barrier, hop.reverse_barrier)], dtype=float)
    return Quantity(
        value=float(np.median(barriers)),
        unit=EV,
        method=method,
        n=len(done),
        std=float(barriers.std(ddof=1)),
        min=float(barriers.min()),
        max=float(barriers.max()),
        protocol=protocol.name,
        protocol_hash=jobs[0]["protocol_hash"],
        job_uuids=[hop.job_uuid for hop in done],
    )


def _formation(plan: Plan, compute: Callable[..., FormationEnergy], method: str) -> tuple[Quantity, str | None]:
    """Return a formation energy with provenance and its reaction, or the reason there is none."""
    protocol = load_mlip(plan.relax_protocol)
    method = f"{method}, {protocol.model.force_field} ({protocol.name})"
    correction = protocol.thermo.o2_correction_eV_per_O
    basin, job = plan.output("basin"), plan.job("basin")
    try:
        if basin is None or job is None:
            raise ThermoError(plan.why_missing("basin"))
        _require_comparable(plan.candidate, protocol, compute)
        references = reference_energies(plan, protocol)
        result = compute(plan.candidate, basin["energy_per_atom"], references, correction, made=_made(plan))
    except HemiecError as error:
        return Quantity(value=None, unit=EV_PER_ATOM, method=method, reason=_reason(plan, error)), None
    uses_o2 = any(phase.is_molecule for phase in result.phases)
    return Quantity(
        value=result.value,
        unit=EV_PER_ATOM,
        method=f"{method}{f', O2 {correction:+g} eV/O' if uses_o2 else ''}",
        n=1,
        protocol=protocol.name,
        protocol_hash=job["protocol_hash"],
        job_uuids=[job["uuid"], *(j["uuid"] for j in plan.jobs if j["step"] == basin["step"])],
        reference_job_uuids=[plan.references[phase.phase_id]["uuid"] for phase in result.phases],
    ), result.reaction


def _made(plan: Plan) -> Composition | None:
    """Return what the cell really holds, which rounding may have moved away from the candidate's fractions."""
    sqs = plan.output("sqs")
    if sqs is None:
        return None
    amounts: dict[str, int] = {}
    for sublattice in sqs["sublattices"].values():
        for species, n in sublattice["amounts"].items():
            amounts[species] = amounts.get(species, 0) + n
    amounts.pop(VACANCY, None)
    return Composition({species: n / sqs["n_formula_units"] for species, n in amounts.items()})


def _require_comparable(candidate: CandidateSpec, protocol: MlipProtocol, compute: Callable[..., Any]) -> None:
    species = {s for site in candidate.sites.values() for s in site}
    shifted = sorted(species & set(protocol.thermo.not_from_elements))
    if compute is from_elements and shifted:
        raise ThermoError(
            f"{protocol.name} puts compounds and metals of {', '.join(shifted)} on different energy scales; "
            "use the enthalpy from oxides"
        )


def reference_energies(plan: Plan, protocol: MlipProtocol) -> dict[str, float]:
    """Return phase_id to energy, in eV/atom, of every reference phase whose relaxation converged."""
    energies = {}
    for phase_id, job in plan.references.items():
        document = plan.outputs.get(job["uuid"])
        if document is None:
            continue
        output = document["output"]["output"]
        if float(np.linalg.norm(output["forces"], axis=1).max()) <= protocol.relax.allowed_force:
            energies[phase_id] = float(output["energy_per_atom"])
    return energies


def _reason(plan: Plan, error: HemiecError) -> str:
    """Return the reason in a few words, with the failed job of a reference phase if there is one."""
    failed = [
        f"{p} (job {j['uuid']}): {plan.failures[j['uuid']]}"
        for p, j in plan.references.items()
        if j["uuid"] in plan.failures
    ]
    text = error.message.rstrip(".")
    return f"{text}; failed reference {failed[0]}" if failed and "reference" in text else text


def _record(plan: Plan, job: Mapping[str, Any]) -> JobRecord:
    document = plan.outputs.get(job["uuid"])
    failure = plan.failures.get(job["uuid"])
    return JobRecord(
        uuid=job["uuid"],
        step=job["step"],
        name=job["name"],
        state="completed" if document else "failed" if failure else "missing",
        completed_at=document["completed_at"] if document else None,
        protocol=job["protocol"],
        protocol_hash=job["protocol_hash"],
        message=None if document else failure,
    )


def _versions(plan: Plan) -> dict[str, str]:
    versions: dict[str, str] = {}
    for job in plan.jobs:
        output = plan.output(job["step"])
        versions |= (output or {}).get("versions") or {}
    return versions
