"""From the outputs of a candidate's jobs to its numbers, each with unit, method and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymatgen.core import Composition

from hemiec.errors import ThermoError
from hemiec.schemas.calculations import GapDoc, GapStart
from hemiec.schemas.documents import CandidateResult, JobRecord
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.store.building.formation import energy_from_elements, enthalpy_from_oxides
from hemiec.store.building.plan import EnergyTier, Plan
from hemiec.store.building.thermodynamics import energy_above_hull, interface_reaction_energy, thermodynamics
from hemiec.thermo.references.table import element_phase
from hemiec.units import EV


def assemble(plan: Plan) -> CandidateResult:
    """Return everything that a plan's finished jobs say about its candidate."""
    sqs, basin, gap = plan.output("sqs"), plan.output("basin"), _gap(plan)
    barrier, transport = _transport(plan)
    from_oxides, reaction = enthalpy_from_oxides(plan, "relax")
    hops = _hops(plan)
    thermo, why_not = thermodynamics(plan, hops, transport)
    return CandidateResult(
        plan_id=plan.plan_id,
        mobile=plan.mobile,
        band_gap=_band_gap(plan, gap),
        migration_barrier=barrier,
        formation_energy_per_atom=energy_from_elements(plan),
        formation_enthalpy_from_oxides_per_atom=from_oxides,
        oxide_reaction=reaction,
        confirmed_formation_enthalpy_from_oxides_per_atom=enthalpy_from_oxides(plan, "confirm")[0],
        energy_above_hull=energy_above_hull(thermo, why_not),
        interface_reaction_energy=interface_reaction_energy(thermo, why_not),
        electronic=gap.lowest.electronic if gap else None,
        gap_starts=_gap_starts(plan, gap),
        energy_per_atom=basin["energy_per_atom"] if basin else None,
        volume_per_atom=basin["structure"]["lattice"]["volume"] / len(basin["structure"]["sites"]) if basin else None,
        tilt=basin.get("tilt") if basin else None,
        n_atoms=sqs["n_atoms"] if sqs else None,
        shortest_image_distance=sqs["shortest_image_distance"] if sqs else None,
        warren_cowley_rms=sqs["warren_cowley_rms"] if sqs else None,
        icet_l1=sqs["icet_l1"] if sqs else None,
        hops=hops,
        transport=transport,
        dynamics=_dynamics(plan),
        thermodynamics=thermo,
        jobs=[_record(plan, job) for job in plan.jobs],
        versions=_versions(plan),
    )


def _gap(plan: Plan) -> GapDoc | None:
    output = plan.output("gap")
    if output is None:
        return None
    # The structure is that of the basin; the builder does not read it again.
    return GapDoc.model_validate(output | {"lowest": {"structure": {}} | output["lowest"]})


def _gap_starts(plan: Plan, gap: GapDoc | None) -> list[GapStart]:
    """Return the magnetic starts, failed ones with the reason from the LaunchPad."""
    return [
        start.model_copy(update={"reason": plan.failures.get(start.job_uuid, start.reason)}) if start.reason else start
        for start in (gap.starts if gap else [])
    ]


def _band_gap(plan: Plan, gap: GapDoc | None) -> Quantity:
    job = plan.job("gap")
    if job is None or gap is None:
        return Quantity(value=None, unit=EV, method="band gap", reason=plan.why_missing("gap"))
    lowest, found = gap.lowest, [start.band_gap for start in gap.starts if start.band_gap is not None]
    return Quantity(
        value=gap.band_gap,
        unit=EV,
        method=_gap_method(gap),
        n=len(found),
        std=gap.spread,
        min=min(found),
        max=max(found),
        protocol=lowest.protocol,
        protocol_hash=lowest.protocol_hash,
        job_uuids=[job["uuid"], gap.starts[0].job_uuid],
    )


def _gap_method(gap: GapDoc) -> str:
    """Return in words how a gap was computed."""
    lowest = gap.lowest
    name = f"{lowest.functional}{'+U' if lowest.hubbard_u else ''}"
    spin = "spin-paired (no magnetic element)"
    if lowest.magnetic_start is not None:
        spin = f"lowest of {len(gap.starts)} magnetic starts ({lowest.magnetic_start}), std over them"
        if len(gap.starts) == 1:
            spin = f"one magnetic start ({lowest.magnetic_start}): the ground state was not searched"
    check = lowest.electronic.kpoint_check if lowest.electronic else None
    checked = f"; checked on a {'x'.join(map(str, check.kpoint_mesh))} mesh" if check else ""
    return f"{name}, {spin}, {lowest.cutoff_eV:g} eV ({lowest.protocol}){checked}; 0 means metal or not resolved"


def _hops(plan: Plan) -> list[HopSummary]:
    """Return the hops computed in the first structure, those whose saddle was not found included."""
    summaries: list[HopSummary] = []
    network = plan.output("network")
    for job in plan.jobs:
        output = plan.output(job["step"]) if job["kind"] == "sample" and "." not in job["step"] else None
        if network is None or output is None:
            continue
        environments = network["network"]["environments"]
        for hop in output["hops"]:
            dft_step = f"dft-hop-{len([s for s in summaries if s.reason is None]) + 1}"
            summaries.append(
                HopSummary(
                    hop=hop["hop"],
                    mobile=network["mobile"],
                    environment=environments[hop["hop"]],
                    forward_barrier=hop["forward_barrier"],
                    reverse_barrier=hop["reverse_barrier"],
                    reaction_coordinate=hop["reaction_coordinate"],
                    energies=hop["energies"],
                    job_uuid=job["uuid"],
                    vacancy_formation_energies=_vacancies(plan, hop, "relax"),
                    dft_vacancy_formation_energies=_vacancies(plan, plan.output(dft_step), "confirm"),
                    **_dft_hop(plan, dft_step),
                )
            )
        summaries += [
            HopSummary(
                hop=failed["hop"],
                mobile=network["mobile"],
                environment=environments[failed["hop"]],
                forward_barrier=None,
                reverse_barrier=None,
                reaction_coordinate=[],
                energies=[],
                reason=failed["reason"],
                job_uuid=job["uuid"],
            )
            for failed in output["failed_hops"]
        ]
    return summaries


def _dft_hop(plan: Plan, step: str) -> dict[str, Any]:
    """Return what DFT says of a hop, as fields of its summary."""
    job, output = plan.job(step), plan.output(step)
    if job is None:
        return {}
    if output is None:
        return {"dft_reason": plan.why_missing(step), "dft_job_uuid": job["uuid"]}
    if not output["converged"]:
        below = max(output["energies"][0], output["energies"][2]) - output["energies"][1]
        reason = f"DFT puts the saddle {below:.2f} eV below a minimum: its path is another one"
        return {"dft_reason": reason, "dft_job_uuid": job["uuid"]}
    return {
        "dft_forward_barrier": output["forward_barrier"],
        "dft_reverse_barrier": output["reverse_barrier"],
        "dft_protocol": output["protocol"],
        "dft_protocol_hash": output["protocol_hash"],
        "dft_job_uuid": job["uuid"],
    }


def _vacancies(plan: Plan, hop: Mapping[str, Any] | None, tier: EnergyTier) -> list[float]:
    """Return the formation energies of a hop's initial and final vacancy, in eV; empty if anything is missing."""
    host, network = plan.output({"relax": "basin", "confirm": "static"}[tier]), plan.output("network")
    if hop is None or host is None or network is None or network["mobile"] != "O":
        return []
    if tier == "relax" and plan.protocols.get("relax") != plan.protocols.get("barrier"):
        return []
    try:
        O2 = plan.reference_energies(tier).get(element_phase("O").phase_id)
        if O2 is None:
            return []
        if tier == "relax":
            host_energy = host["energy_per_atom"] * len(host["structure"]["sites"])
            ends = [hop["initial_energy"], hop["initial_energy"] + hop["energies"][-1]]
        else:
            host_energy = host["lowest"]["energy"]
            ends = [hop["energies"][0], hop["energies"][-1]]
        shift = O2 + _correction_of_a_vacancy(plan, tier, len(plan.output("basin")["structure"]["sites"]))  # type: ignore[index]
    except ThermoError:
        return []  # the formation energies say what is wrong with the reference phases
    return [float(energy) - float(host_energy) + shift for energy in ends]


def _correction_of_a_vacancy(plan: Plan, tier: EnergyTier, n_atoms: int) -> float:
    """Return what the corrections of compounds add to taking one oxygen out of the cell, in eV."""
    cell = plan.composition * (n_atoms / plan.composition.num_atoms)
    left = cell - Composition("O")
    return plan.corrected(tier, 0.0, left) * left.num_atoms - plan.corrected(tier, 0.0, cell) * n_atoms


def _transport(plan: Plan) -> tuple[Quantity, TransportSummary | None]:
    """Return the effective migration barrier with its provenance, and all that is known of transport."""
    job, output = plan.job("transport"), plan.output("transport")
    if job is None or output is None:
        reason = plan.why_missing("transport")
        return Quantity(value=None, unit=EV, method="effective migration barrier", reason=reason), None
    summary = TransportSummary.model_validate(output)
    samples = [j["uuid"] for j in plan.jobs if j["kind"] == "sample" and (plan.output(j["step"]) or {}).get("hops")]
    barrier = summary.effective_barrier.model_copy(
        update={
            "protocol": job["protocol"],
            "protocol_hash": job["protocol_hash"],
            "job_uuids": [job["uuid"], *samples],
        }
    )
    return barrier, summary


def _dynamics(plan: Plan) -> ArrheniusDoc | None:
    """Return what molecular dynamics says, with the jobs that it was computed by."""
    job, output = plan.job("dynamics"), plan.output("dynamics")
    if job is None or output is None:
        return None
    found = ArrheniusDoc.model_validate(output)
    runs = [j["uuid"] for j in plan.jobs if j["kind"] == "dynamics-run" and plan.output(j["step"]) is not None]
    energy = found.activation_energy.model_copy(update={"job_uuids": [job["uuid"], *runs]})
    return found.model_copy(update={"activation_energy": energy})


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
        output = plan.output(job["step"]) or {}
        versions |= output.get("versions") or output.get("lowest", {}).get("versions") or {}
    return versions
