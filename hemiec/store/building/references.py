"""The energies of reference phases, as the builder stores them: a document for each phase and protocol."""

from __future__ import annotations

from datetime import datetime
from math import isfinite

from hemiec.schemas.documents import SCHEMA_VERSION, ReferenceDoc
from hemiec.store.building.plan import energies_of
from hemiec.store.building.shared import Shared, read_structures
from hemiec.store.candidates import formula_composition
from hemiec.store.database import Database, Document


def stale_references(database: Database, shared: Shared, moment: datetime, *, everything: bool) -> list[Document]:
    """Return the documents of finished reference phases that are not in the store as they would be built now.

    Parameters
    ----------
    database
        The store.
    shared
        Jobs and outputs of the reference phases.
    moment
        When the pass started.
    everything
        Whether all are returned.
    """
    fields = {"_id": 0, "reference_id": 1, "job_uuid": 1, "energy_per_atom": 1, "schema_version": 1}
    stored = {d.pop("reference_id"): d for d in database["references"].find({}, fields)}
    stale = []
    for doc in _reference_docs(shared, moment):
        same = {"job_uuid": doc.job_uuid, "energy_per_atom": doc.energy_per_atom, "schema_version": SCHEMA_VERSION}
        if everything or stored.get(doc.reference_id) != same:
            stale.append(doc.to_mongo())
    structures = read_structures(database, [doc["job_uuid"] for doc in stale])
    return [doc | {"structure": structures.get(doc["job_uuid"])} for doc in stale]


def _reference_docs(shared: Shared, moment: datetime) -> list[ReferenceDoc]:
    documents = {}
    for header in shared.headers.values():
        for kind in ("reference", "reference-static"):
            jobs = {job["phase_id"]: job for job in header.references if job["kind"] == kind}
            for phase_id, energy in energies_of(jobs, shared.outputs).items():
                if not isfinite(energy):
                    continue  # what needs it says so
                job = jobs[phase_id]
                reference_id = f"{phase_id}:{job['protocol_hash']}"
                documents[reference_id] = ReferenceDoc(
                    reference_id=reference_id,
                    phase=job["label"],
                    **formula_composition(phase_id.split("-")[0]),
                    energy_per_atom=energy,
                    protocol=job["protocol"],
                    protocol_hash=job["protocol_hash"],
                    job_uuid=job["uuid"],
                    last_updated=moment,
                )
    return list(documents.values())
