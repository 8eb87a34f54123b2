"""From the outputs of a candidate's jobs to its numbers, each with unit, method and provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any, Literal

from pymatgen.core import Composition
from scipy import stats

from hemiec.composition.fractions import VACANCY
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import Protocol, load_protocol
from hemiec.engines.protocol import ProtocolReference as Reference
from hemiec.errors import HemiecError, ThermoError
from hemiec.schemas.calculations import GapDoc, GapStart
from hemiec.schemas.documents import NOT_ASKED, CandidateResult, CandidateSpec, JobRecord
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.thermo.formation import FormationEnergy, from_elements, from_oxides
from hemiec.thermo.references import element_phase
from hemiec.units import EV, EV_PER_ATOM

Output = Mapping[str, Any]
#: First word of the steps that numbers come from, to their tier.
_TIER = {
    "basin": "relax",
    "sample": "barrier",
    "transport": "barrier",
    "gap": "gap",
    "static": "confirm",
    "dft": "confirm",
}


@dataclass(frozen=True)
class Plan:
    """The jobs of one candidate in one campaign, with what is known of each.

    ``outputs`` maps job uuid to JobStore document, ``failures`` job uuid to the last line of its error,
    ``references`` and ``dft_references`` phase_id to the record of the job of the relaxed phase and of its DFT energy,
    ``protocols`` tier to protocol; ``stopped`` says why no more is computed for the candidate.
    """

    plan_id: str
    candidate: CandidateSpec
    jobs: list[dict[str, Any]]
    references: dict[str, dict[str, Any]]
    dft_references: dict[str, dict[str, Any]]
    outputs: Mapping[str, Output]
    failures: Mapping[str, str]
    protocols: Mapping[str, Reference | None]
    stopped: str | None = None

    @cached_property
    def energies(self) -> dict[str, dict[str, float]]:
        """Tier to phase_id to energy of the reference phases that have finished, in eV/atom."""
        references = {"relax": self.references, "confirm": self.dft_references}
        return {tier: energies_of(jobs, self.outputs) for tier, jobs in references.items()}

    @cached_property
    def _by_step(self) -> dict[str, dict[str, Any]]:
        return {job["step"]: job for job in reversed(self.jobs)}  # of equal steps, the first

    def job(self, step: str) -> dict[str, Any] | None:
        """Return the record of the job of a step, or None if the plan has no such step."""
        return self._by_step.get(step)

    def output(self, step: str) -> dict[str, Any] | None:
        """Return what the job of a step returned, or None if it has not finished."""
        job = self.job(step)
        document = self.outputs.get(job["uuid"]) if job else None
        return document["output"] if document else None

    def why_missing(self, step: str) -> str:
        """Return why the job of a step has no output."""
        job = self.job(step)
        if job is None:
            asked = self.protocols.get(_TIER[step.split("-")[0]]) is not None
            return self.stopped if asked and self.stopped else NOT_ASKED
        if job["uuid"] in self.failures:
            return f"job {job['uuid']} failed: {self.failures[job['uuid']]}"
        failed = next(
            (f"; {j['step']} failed: {self.failures[j['uuid']]}" for j in self.jobs if j["uuid"] in self.failures), ""
        )
        return f"job {job['uuid']} ({job['name']}) has not finished{failed}"


def assemble(plan: Plan) -> CandidateResult:
    """Return everything that a plan's finished jobs say about its candidate."""
    sqs, basin, gap = plan.output("sqs"), plan.output("basin"), _gap(plan)
    barrier, transport = _transport(plan)
    from_e, _ = _formation(plan, "relax", from_elements, "formation energy from the elements")
    from_o, reaction = _formation(plan, "relax", from_oxides, "formation enthalpy from binary oxides at 0 K")
    confirmed, _ = _formation(plan, "confirm", from_oxides, "formation enthalpy from binary oxides at 0 K")
    return CandidateResult(
        plan_id=plan.plan_id,
        band_gap=_band_gap(plan, gap),
        migration_barrier=barrier,
        formation_energy_per_atom=from_e,
        formation_enthalpy_from_oxides_per_atom=from_o,
        oxide_reaction=reaction,
        confirmed_formation_enthalpy_from_oxides_per_atom=confirmed,
        electronic=gap.lowest.electronic if gap else None,
        gap_starts=_gap_starts(plan, gap),
        energy_per_atom=basin["energy_per_atom"] if basin else None,
        volume_per_atom=basin["structure"]["lattice"]["volume"] / len(basin["structure"]["sites"]) if basin else None,
        tilt=basin.get("tilt") if basin else None,
        n_atoms=sqs["n_atoms"] if sqs else None,
        shortest_image_distance=sqs["shortest_image_distance"] if sqs else None,
        warren_cowley_rms=sqs["warren_cowley_rms"] if sqs else None,
        icet_l1=sqs["icet_l1"] if sqs else None,
        hops=_hops(plan),
        transport=transport,
        dynamics=_dynamics(plan),
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


def _vacancies(plan: Plan, hop: Mapping[str, Any] | None, tier: Literal["relax", "confirm"]) -> list[float]:
    """Return the formation energies of a hop's initial and final vacancy, in eV; empty if anything is missing."""
    host, network = plan.output({"relax": "basin", "confirm": "static"}[tier]), plan.output("network")
    O2 = plan.energies[tier].get(element_phase("O").phase_id)
    if hop is None or host is None or network is None or network["mobile"] != "O" or O2 is None:
        return []
    if tier == "relax" and plan.protocols.get("relax") != plan.protocols.get("barrier"):
        return []
    mu_O = O2 + _protocol(plan, tier).thermo.o2_correction_eV_per_O
    if tier == "relax":
        host_energy = host["energy_per_atom"] * len(host["structure"]["sites"])
        ends = [hop["initial_energy"], hop["initial_energy"] + hop["energies"][-1]]
    else:
        host_energy = host["lowest"]["energy"]
        ends = [hop["energies"][0], hop["energies"][-1]]
    return [float(energy) + mu_O - float(host_energy) for energy in ends]


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


def _protocol(plan: Plan, tier: str) -> Protocol:
    reference = plan.protocols.get(tier)
    if reference is None:
        raise ThermoError(NOT_ASKED)
    return load_protocol(reference)


def _model(plan: Plan, tier: str) -> str:
    """Return model or functional of a tier's protocol with its name."""
    protocol = _protocol(plan, tier)
    model = protocol.model.force_field if isinstance(protocol, MlipProtocol) else protocol.functional
    return f"{model} ({protocol.name})"


def _formation(
    plan: Plan, tier: Literal["relax", "confirm"], compute: Callable[..., FormationEnergy], method: str
) -> tuple[Quantity, str | None]:
    """Return a formation energy with provenance and its reaction, or the reason there is none."""
    step = {"relax": "basin", "confirm": "static"}[tier]
    references = {"relax": plan.references, "confirm": plan.dft_references}[tier]
    try:
        protocol = _protocol(plan, tier)
        method = f"{method}, {_model(plan, tier)}"
        finished = [job for job in plan.jobs if _of_step(job, step) and plan.output(job["step"]) is not None]
        if not finished:
            raise ThermoError(plan.why_missing(step))
        _require_comparable(plan.candidate, protocol, compute)
        correction = protocol.thermo.o2_correction_eV_per_O
        known, made = plan.energies[tier], _made(plan)
        # One per special quasirandom structure; the confirmation has one.
        outputs = [plan.outputs[job["uuid"]]["output"] for job in finished]
        energies = [o["energy_per_atom"] if tier == "relax" else o["lowest"]["energy_per_atom"] for o in outputs]
        results = [compute(plan.candidate, energy, known, correction, made=made) for energy in energies]
    except HemiecError as error:
        return Quantity(value=None, unit=EV_PER_ATOM, method=method, reason=_reason(plan, references, error)), None
    result, values = results[0], [found.value for found in results]
    uses_o2 = any(phase.is_molecule for phase in result.phases)
    own = [] if tier == "relax" else [output["starts"][0]["job_uuid"] for output in outputs]
    several = len(values) > 1
    return Quantity(
        value=mean(values),
        unit=EV_PER_ATOM,
        method=f"{method}{f', O2 {correction:+g} eV/O' if uses_o2 else ''}"
        f"{', mean and std over special quasirandom structures' if several else ''}",
        n=len(values),
        std=stdev(values) if several else None,
        min=min(values) if several else None,
        max=max(values) if several else None,
        interval=_interval_of_mean(values) if several else None,
        protocol=protocol.name,
        protocol_hash=finished[0]["protocol_hash"],
        job_uuids=[*(job["uuid"] for job in finished), *own],
        reference_job_uuids=[references[phase.phase_id]["uuid"] for phase in result.phases],
    ), result.reaction


def _interval_of_mean(values: list[float]) -> tuple[float, float]:
    """Return the 90 % interval of the mean that two or more values were drawn around, by Student's t."""
    error = stats.t.ppf(0.95, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean(values) - error, mean(values) + error


def _of_step(job: Mapping[str, Any], step: str) -> bool:
    """Return whether a job is that step of any of the special quasirandom structures."""
    return str(job["step"]).split(".")[0] == step


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


def _require_comparable(candidate: CandidateSpec, protocol: Protocol, compute: Callable[..., Any]) -> None:
    species = {s for site in candidate.sites.values() for s in site}
    shifted = sorted(species & set(protocol.thermo.not_from_elements))
    if compute is from_elements and shifted:
        raise ThermoError(
            f"{protocol.name} puts compounds and metals of {', '.join(shifted)} on different energy scales; "
            "use the enthalpy from oxides"
        )
    if not isinstance(protocol, MlipProtocol) and not protocol.energies:
        raise ThermoError(f"{protocol.name} is for gaps: its total energies are not converged")


def energies_of(references: Mapping[str, dict[str, Any]], outputs: Mapping[str, Output]) -> dict[str, float]:
    """Return phase_id to energy, in eV/atom, of every reference phase that has finished and converged."""
    energies = {}
    for phase_id, job in references.items():
        document = outputs.get(job["uuid"])
        if document is None:
            continue
        output = document["output"]
        calculation = output.get("lowest", output)
        if calculation["converged"]:
            energies[phase_id] = float(calculation["energy_per_atom"])
    return energies


def _reason(plan: Plan, references: Mapping[str, dict[str, Any]], error: HemiecError) -> str:
    """Return the reason in a few words, with the failed job of a reference phase if there is one."""
    failed = [
        f"{p} (job {j['uuid']}): {plan.failures[j['uuid']]}"
        for p, j in references.items()
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
        output = plan.output(job["step"]) or {}
        versions |= output.get("versions") or output.get("lowest", {}).get("versions") or {}
    return versions
