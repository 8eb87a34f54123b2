"""Reference phases by themselves: what is known of each, and the jobs of those that no campaign brought."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from hemiec.engines.makers import refuse_elements
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import ProtocolReference, load_dft, load_mlip
from hemiec.errors import CampaignError, EngineError, InputError, did_you_mean
from hemiec.launch.lease import submission_lease
from hemiec.launch.queue import Queue
from hemiec.launch.shipped import load_shipped, version_notice
from hemiec.launch.submit import Count, Submission
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.validation import validate
from hemiec.store.campaigns import write_header
from hemiec.store.database import Database, Document
from hemiec.thermo.references.shipped import not_converging, shipped_outputs
from hemiec.thermo.references.table import ReferencePhase, all_phases, element_phase
from hemiec.workflows.references import (
    REFERENCES,
    ReferenceJobs,
    reference_jobs,
    reference_uuid,
)

#: What is read of an output.
_OF_AN_OUTPUT = ("energy_per_atom", "converged", "structure", "versions")
PhaseState = Literal["computed", "added", "shipped", "shipped, not loaded", "does not converge", "missing"]


@dataclass(frozen=True)
class KnownPhase:
    """A reference phase, and what is known of it by one protocol.

    ``energy_per_atom`` is in eV/atom as the protocol computed it, before corrections; None where it is missing.
    ``state`` is computed, added (from a file) or shipped of what is in the store, ``shipped, not loaded`` of what a
    submission would load, and ``does not converge`` of what was tried for the shipped ones.
    ``structure`` is the relaxed cell as pymatgen writes it, ``versions`` those of the codes that relaxed it.
    """

    phase: ReferencePhase
    job_uuid: str
    state: PhaseState
    energy_per_atom: float | None
    converged: bool | None
    structure: Document | None
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"phase_id": self.phase.phase_id, **self.phase.model_dump(mode="json")} | {
            key: value for key, value in asdict(self).items() if key != "phase"
        }


def known_phases(
    database: Database, protocol: MlipProtocol, elements: Collection[str] | None = None
) -> list[KnownPhase]:
    """Return all reference phases, or those within some elements, with what is known of each by a protocol.

    Parameters
    ----------
    database
        The store; the role `read` is enough.
    protocol
        What relaxes.
    elements
        Symbols; None for all phases.
    """
    chosen = within([*all_phases(), *added_phases(database, protocol)], elements)
    uuids = {reference_uuid(phase, protocol): phase for phase in chosen}
    shipped, hopeless = shipped_outputs(protocol.hash_of("relax")), not_converging(protocol.hash_of("relax"))
    query = {"uuid": {"$in": list(uuids)}, "output": {"$ne": None}}
    fields = {"_id": 0, "uuid": 1, "metadata.hemiec.shipped": 1} | {f"output.{name}": 1 for name in _OF_AN_OUTPUT}
    stored = {document["uuid"]: document for document in database["outputs"].find(query, fields)}
    phases = []
    for uuid, phase in uuids.items():
        found = stored.get(uuid) or shipped.get(uuid)
        output = (found or {}).get("output") or {}
        state: PhaseState = "does not converge" if phase.phase_id in hopeless else "missing"
        if found is not None:
            state = _state(found) if uuid in stored else "shipped, not loaded"
        phases.append(
            KnownPhase(
                phase=phase,
                job_uuid=uuid,
                state=state,
                energy_per_atom=output.get("energy_per_atom"),
                converged=output.get("converged"),
                structure=output.get("structure"),
                versions=output.get("versions") or {},
            )
        )
    return phases


def _state(stored: Document) -> PhaseState:
    mark = ((stored.get("metadata") or {}).get("hemiec") or {}).get("shipped")
    return "computed" if mark is None else "shipped" if mark["source"].startswith("hemiec ") else "added"


def computable_phases(database: Database, protocol: MlipProtocol, elements: Collection[str]) -> list[ReferencePhase]:
    """Return the phases of some elements, without those that are known not to converge with a protocol.

    Raises
    ------
    ThermoError
        If an element has no phase.
    """
    for symbol in elements:
        element_phase(symbol)
    return without_hopeless(within([*all_phases(), *added_phases(database, protocol)], elements), protocol)


def without_hopeless(phases: Sequence[ReferencePhase], protocol: MlipProtocol) -> list[ReferencePhase]:
    """Return the phases without those that are known not to converge with a protocol."""
    hopeless = not_converging(protocol.hash_of("relax"))
    return [phase for phase in phases if phase.phase_id not in hopeless]


def within(phases: Sequence[ReferencePhase], elements: Collection[str] | None) -> list[ReferencePhase]:
    """Return the phases that are made of some elements only."""
    if elements is None:
        return list(phases)
    return [phase for phase in phases if phase.elements <= set(elements)]


def find_phase(database: Database, protocol: MlipProtocol, phase_id: str) -> KnownPhase:
    """Return one phase.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    phases = {known.phase.phase_id: known for known in known_phases(database, protocol)}
    if phase_id in phases:
        return phases[phase_id]
    same = sorted(name for name, known in phases.items() if known.phase.formula == phase_id)
    hint = f"of that formula there are {', '.join(same)}." if same else did_you_mean(phase_id, phases)
    if not same and not hint.startswith("did"):
        hint = "`hemiec references list` names them."
    raise InputError(f"no reference phase {phase_id!r}; {hint}")


def header_name(protocol: MlipProtocol, confirm: str | None = None) -> str:
    """Return the name under which reference phases of a protocol are submitted that no campaign asks for."""
    # A protocol of the user's own may change under its name; a shipped one does not.
    name = protocol.name if isinstance(protocol.reference, str) else f"{protocol.name}-{protocol.hash_of('relax')}"
    return f"{REFERENCES}{name}{f'-{confirm}' if confirm else ''}"


def added_phases(database: Database, protocol: MlipProtocol) -> list[ReferencePhase]:
    """Return the phases that were added to a store for a protocol, beyond those of hemiec's tables."""
    known = {phase.phase_id for phase in all_phases()}
    headers = database["campaigns"].find(
        {"added_phases": {"$exists": True}, "references.protocol_hash": protocol.hash_of("relax")}, {"added_phases": 1}
    )
    added = {
        phase.phase_id: phase
        for header in headers
        for phase in map(ReferencePhase.model_validate, header["added_phases"])
    }
    return [phase for name, phase in added.items() if name not in known]


@dataclass(frozen=True)
class ReferenceRequest:
    """Phases to be computed with a protocol, checked.

    ``confirm`` is the DFT protocol of their energies, None for none.
    """

    name: str
    protocol: ProtocolReference
    confirm: ProtocolReference | None
    jobs: ReferenceJobs
    added: Sequence[ReferencePhase]


def request_references(
    phases: Sequence[ReferencePhase],
    protocol: ProtocolReference,
    *,
    confirm: ProtocolReference | None = None,
    use_shipped: bool = True,
    flows: bool = True,
) -> ReferenceRequest:
    """Return the jobs of some phases, without a look at a store.

    Parameters
    ----------
    phases
        Each once.
    protocol
        The MLIP protocol that relaxes them.
    confirm
        A DFT protocol for the energies of compounds and molecules, from every magnetic start that applies; None for
        none. Metals get none: no number that DFT confirms refers to them.
    use_shipped
        Whether shipped energies are used.
    flows
        Whether anything is to be computed; if not, the phases are only listed.

    Raises
    ------
    CampaignError
        If a protocol is of another engine than is needed, or for gaps only.
    EngineError
        If the DFT protocol does not treat an element.
    """
    relaxing = load_mlip(protocol, where="--protocol")
    confirmed: list[str] = []
    if confirm is not None:
        dft = load_dft(confirm, where="--confirm")
        if not dft.energies:
            raise CampaignError(
                f"--confirm: {dft.name} is for gaps; its total energies are not converged.",
                mend="use one whose `energies` is true, such as gpaw-standard",
            )
        for phase in phases:
            if phase.is_molecule or phase.oxidation_state != 0:
                try:
                    refuse_elements(set(phase.elements), dft)
                except EngineError as error:
                    raise EngineError(f"{phase.phase_id}: {error.message}", mend=error.mend) from error
                confirmed.append(phase.phase_id)
    tabulated = {phase.phase_id for phase in all_phases()}
    jobs = reference_jobs(
        phases,
        protocol if isinstance(protocol, str) else dict(protocol),
        confirm=confirm if confirm is None or isinstance(confirm, str) else dict(confirm),
        confirmed=confirmed,
        use_shipped=use_shipped,
        make=flows,
    )
    name = header_name(relaxing, load_dft(confirm).name if confirm is not None else None)
    added = [phase for phase in phases if phase.phase_id not in tabulated]
    return ReferenceRequest(name, protocol, confirm, jobs, added)


def submit_references(queue: Queue, request: ReferenceRequest, *, dry_run: bool = False) -> Submission:
    """Add the jobs of reference phases that neither have a result nor are in the queue.

    They belong to a campaign without candidates; what was submitted to it before stays in it.

    Parameters
    ----------
    queue
        Where jobs go.
    request
        From :func:`request_references`.
    dry_run
        Whether only to say what would be added.

    Raises
    ------
    LaunchError
        If another submission holds the lock for too long.
    """
    shipped = request.jobs.shipped
    notice = version_notice(load_mlip(request.protocol)) if shipped else None
    if dry_run:
        count = Count(queue, shipped)
        count.add(request.jobs.flows)
        return count.submission(notice)
    with submission_lease(queue.database) as lease:
        if lease.inherited:
            queue.mend_submission()
        write_header(queue.database, own_header(queue.database, request))
        load_shipped(queue, shipped, request.name)
        count = Count(queue, shipped)
        count.add(request.jobs.flows)
        queue.add_missing(request.jobs.flows, request.name)
    return count.submission(notice)


def own_header(database: Database, request: ReferenceRequest) -> Document:
    """Return the document of the campaign that owns phases which no other one asks for."""
    about = {
        "name": request.name,
        "description": f"Reference phases by {load_mlip(request.protocol).name}, shared by all campaigns.",
        "space": [],
        "protocols": {"relax": request.protocol, "barrier": None, "gap": None, "confirm": request.confirm},
    }
    spec = validate(CampaignSpec, about, request.name, CampaignError)
    earlier = database["campaigns"].find_one({"name": request.name}, {"references": 1, "added_phases": 1}) or {}
    # Jobs without a protocol prepare others.
    hashes = {None, *(record["protocol_hash"] for record in request.jobs.records)}
    records = {r["uuid"]: r for r in earlier.get("references", []) if r["protocol_hash"] in hashes}
    before = map(ReferencePhase.model_validate, earlier.get("added_phases", []))
    added = {phase.phase_id: phase.model_dump(mode="json") for phase in (*before, *request.added)}
    return {
        "name": request.name,
        "spec": spec.model_dump(mode="json"),
        "n_candidates": 0,
        "references": list((records | {record["uuid"]: record for record in request.jobs.records}).values()),
        "added_phases": list(added.values()),
        "promotions": [],
        "last_submitted": datetime.now(UTC),
    }
