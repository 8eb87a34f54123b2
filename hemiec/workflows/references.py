"""Reference phases as jobs: each computed once per protocol, shared by all campaigns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Maker

from hemiec.engines.makers import relax_maker
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.thermo.interfaces.partners import MOBILE, PARTNERS
from hemiec.thermo.references.shipped import shipped_outputs
from hemiec.thermo.references.table import ReferencePhase, all_phases
from hemiec.workflows.identity import identify, record_of, records_of, uuid_of
from hemiec.workflows.jobs import GivenMomentsMaker
from hemiec.workflows.solutions import solution_jobs

PRIORITY = 60
#: How the name of a campaign begins that has no candidates, only reference phases.
REFERENCES = "references-"
#: Fields of a phase that decide what its job returns; nothing else is in the job's uuid.
_CONTENT = {
    *("formula", "phase", "prototype", "space_group", "lattice", "sites", "primitive_atoms"),
    *("oxidation_state", "standard_state"),
}


def reference_uuid(phase: ReferencePhase, protocol: MlipProtocol) -> str:
    """Return the uuid of the job that relaxes a phase, without making its structure."""
    return uuid_of("reference", _inputs(phase), protocol.hash_of("relax"))


def reference_record(phase: ReferencePhase, protocol: MlipProtocol) -> dict[str, Any]:
    """Return what a campaign's header lists of the job that relaxes a phase, without making its structure."""
    record = record_of(
        reference_uuid(phase, protocol),
        "reference",
        protocol=(protocol.name, protocol.hash_of("relax")),
        resources=protocol.resources,
        metadata={**_about(phase), "tier": "relax"},
    )
    return record | {"name": _job_name(phase)}


def surrounding_phases(systems: Collection[frozenset[str]]) -> list[ReferencePhase]:
    """Return the phases that hulls and interfaces in some chemical systems are made of.

    They are those within the elements of a system together with lithium and oxygen, which come and go, and with those
    of a solid electrolyte.

    Parameters
    ----------
    systems
        Sets of symbols of elements.
    """
    partners = {frozenset(MOBILE), *(partner.elements.union(MOBILE) for partner in PARTNERS)}
    left = {phase.phase_id: phase.elements for phase in all_phases()}
    for elements in {system | partner for system in systems for partner in partners}:
        # Each phase is found once: ten thousand candidates cost little more than one.
        for phase_id in [name for name, needed in left.items() if needed <= elements]:
            del left[phase_id]
    return [phase for phase in all_phases() if phase.phase_id not in left]


@dataclass
class ReferenceMaker(Maker):
    """Relax a reference phase, a molecule in its fixed cell; with DFT, compute the energy of what was relaxed.

    Parameters
    ----------
    name
        Flow name; the phase is added.
    protocol
        The MLIP protocol that relaxes: a shipped name, or a protocol itself.
    confirm
        The DFT protocol of the energies; None for none.
    """

    name: str = "reference"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    confirm: str | dict[str, Any] | None = None

    def make(self, phase: ReferencePhase) -> Flow:
        """Return a flow named by phase, structure and protocols."""
        protocol = load_mlip(self.protocol)
        about = _about(phase)
        structure = phase.structure()
        relax = relax_maker(protocol, relax_cell=not phase.is_molecule, name=_job_name(phase)).make(structure)
        identify(
            relax,
            "reference",
            _inputs(phase),
            priority=PRIORITY,
            protocol=(protocol.name, protocol.hash_of("relax")),
            resources=protocol.resources,
            metadata={**about, "tier": "relax"},
        )
        jobs: list[Any] = [relax]
        if self.confirm is not None:
            relaxed = relax.output["structure"]
            if given := phase.formula == "O2":
                # The triplet of O2 is no arrangement of magnetic ions: its moments go with the structure.
                jobs.append(moments := GivenMomentsMaker(moments=[1.0] * len(structure)).make(relaxed))
                identify(
                    moments,
                    "given-moments",
                    {"relax": relax.uuid, "moments": [1.0] * len(structure)},
                    priority=PRIORITY,
                    metadata={**about, "tier": "confirm"},
                )
                relaxed = moments.output
            calculations, lowest = solution_jobs(
                "reference-static",
                load_dft(self.confirm),
                [site.specie.symbol for site in structure],
                relaxed,
                {"relax": relax.uuid},
                given=given,
                priority=PRIORITY,
                metadata={**about, "tier": "confirm"},
            )
            jobs += [*calculations, lowest]
        return Flow(jobs, name=f"{self.name} {phase.phase_id}")


@dataclass(frozen=True)
class ReferenceJobs:
    """The jobs of some reference phases.

    ``records`` is what a header lists of them, ``flows`` what has to be computed, and ``shipped`` maps the uuids of
    jobs that came with hemiec to what they left.
    """

    records: list[dict[str, Any]]
    flows: list[Flow]
    shipped: Mapping[str, dict[str, Any]]


def reference_jobs(
    phases: Sequence[ReferencePhase],
    protocol: str | dict[str, Any],
    *,
    confirm: str | dict[str, Any] | None = None,
    confirmed: Collection[str] = (),
    use_shipped: bool = True,
    make: bool = True,
) -> ReferenceJobs:
    """Return the jobs of phases; those whose energies are shipped need none but for their DFT energy.

    Parameters
    ----------
    phases
        Each once.
    protocol
        The MLIP protocol that relaxes them.
    confirm
        The DFT protocol of the energies.
    confirmed
        The phase_ids of those that get a DFT energy.
    use_shipped
        Whether what is shipped is taken instead of being computed.
    make
        Whether the flows are made; if not, only the records are.
    """
    relaxing = load_mlip(protocol)
    outputs = shipped_outputs(relaxing.hash_of("relax")) if use_shipped else {}
    plain, with_dft = ReferenceMaker(protocol=protocol), ReferenceMaker(protocol=protocol, confirm=confirm)
    records: list[dict[str, Any]] = []
    flows, shipped = [], {}
    for phase in phases:
        record = reference_record(phase, relaxing)
        if record["uuid"] in outputs:
            shipped[record["uuid"]] = outputs[record["uuid"]]
        if phase.phase_id in confirmed and confirm is not None:
            flows.append(with_dft.make(phase))
            records += records_of(flows[-1])
            continue
        records.append(record)
        if make and record["uuid"] not in outputs:
            flows.append(plain.make(phase))
    return ReferenceJobs(records, flows, shipped)


def shipped_phases(phases: Sequence[ReferencePhase], protocol: MlipProtocol) -> list[ReferencePhase]:
    """Return those phases whose energies by a protocol are shipped with hemiec."""
    outputs = shipped_outputs(protocol.hash_of("relax"))
    return [phase for phase in phases if reference_uuid(phase, protocol) in outputs] if outputs else []


def _inputs(phase: ReferencePhase) -> dict[str, Any]:
    return {"phase": phase.model_dump(mode="json", include=_CONTENT)}


def _about(phase: ReferencePhase) -> dict[str, Any]:
    return {"phase_id": phase.phase_id, "label": f"{phase.formula} ({phase.phase})"}


def _job_name(phase: ReferencePhase) -> str:
    return f"relax {phase.formula}"
