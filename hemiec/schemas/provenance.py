"""Where numbers come from: jobs with their inputs, launches and files, protocols, structures, calibrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.schemas.quantity import Document, Quantity


class RawFile(Document):
    """Something that a job left: a file, a folder, or a large object beside its output."""

    kind: Literal["folder", "file", "gridfs", "folder object", "s3"] = Field(description="Where it lies.")
    place: str = Field(description="Path, or name of the object.")
    host: str | None = Field(None, description="Machine that the path is on; null for an object.")
    bytes: int | None = Field(None, description="Size as stored, in bytes; null if not looked at or not known.")
    present: bool | None = Field(None, description="Whether it is still there; null if this cannot be told from here.")


class LaunchTrace(Document):
    """One attempt to run a job."""

    state: str = Field(description="How it ended, in the words of FireWorks or jobflow-remote.")
    host: str | None = Field(description="Machine that it ran on.")
    worker: str | None = Field(description="Name of the worker.")
    scheduler_id: str | None = Field(description="Number of its allocation in the scheduler; null outside of one.")
    started_at: str | None = Field(description="When it began, ISO 8601, UTC.")
    ended_at: str | None = Field(description="When it ended, ISO 8601, UTC; null if it did not.")
    elapsed_s: float | None = Field(description="Wall time in s; null if it did not end.")
    folder: str | None = Field(description="Folder that it ran in, on that machine.")


class JobInput(Document):
    """What a job took from another one."""

    job_uuid: str = Field(description="The other job.")
    attribute: str = Field(description="Which part of its output, such as `structure`; empty for all.")


class JobTrace(Document):
    """One job: what ran, on what, when, where, and what it left."""

    uuid: str = Field(description="jobflow uuid.")
    index: int = Field(description="How often the job was replaced, plus one; unit 1.")
    name: str = Field(description="Job name.")
    step: str | None = Field(description="Step of the workflow: sqs, basin, sample-1, ...; null if not recorded.")
    state: Literal["completed", "failed", "unfinished", "unknown"] = Field(
        description="Whether there is an output; unknown if neither queue nor outputs have the job."
    )
    function: str | None = Field(description="Function that ran, with its module.")
    settings: dict[str, Any] = Field(description="Settings of its maker: seed, protocol and so on.")
    arguments: dict[str, Any] = Field(description="Arguments, by place or name; what came from other jobs is marked.")
    inputs: list[JobInput] = Field(description="What it took from other jobs.")
    protocol: str | None = Field(description="Protocol name.")
    protocol_hash: str | None = Field(description="Hash of the part of the protocol that the job depends on.")
    versions: dict[str, str] = Field(description="Versions of the codes, and of the package that holds the weights.")
    completed_at: str | None = Field(description="When its output was stored, ISO 8601.")
    shipped_with: str | None = Field(
        None, description="Where the output came from if the job did not run for this store: hemiec with its version."
    )
    launches: list[LaunchTrace] = Field(description="Attempts to run it, the first one first.")
    files: list[RawFile] = Field(description="What it left.")


class ProtocolTrace(Document):
    """A protocol in full."""

    name: str = Field(description="Name.")
    hashes: list[str] = Field(description="Hashes by which the jobs name its parts.")
    content: dict[str, Any] | None = Field(description="All of it; null if it is not known, then it is in `missing`.")
    verified: bool | None = Field(
        description="Whether the content has those hashes; null where the hash also covers settings of the job."
    )


class StructureTrace(Document):
    """One special quasirandom structure of the candidate."""

    structure_id: str = Field(description="Key in the collection `structures`.")
    formula_pretty: str = Field(description="Reduced formula of the cell.")
    nsites: int = Field(description="Atoms in the cell; unit 1.")
    sqs_job_uuid: str = Field(description="Job that made it.")
    relax_job_uuid: str | None = Field(description="Job that relaxed it; null if none has.")


class ReferenceTrace(Document):
    """One reference phase that a formation energy is relative to."""

    reference_id: str = Field(description="Key in the collection `references`.")
    phase: str = Field(description="Name of the phase.")
    energy_per_atom: float = Field(description="Its energy, in eV/atom; the protocol's own zero.")
    job_uuid: str = Field(description="Job that computed it.")


class CalibrationTrace(Document):
    """The correction of a number towards another protocol."""

    calibration_id: str = Field(description="Content hash of model and points.")
    model: str = Field(description="Statistical model.")
    low_protocol: str = Field(description="Protocol that is corrected.")
    high_protocol: str = Field(description="Protocol that it is corrected to.")
    high_protocol_hash: str = Field(description="Hash of its physics.")
    n_points: int = Field(description="Points that it was fitted to; unit 1.")
    created_at: datetime | None = Field(description="When it was fitted, UTC; null for one that is shipped.")
    shipped: bool = Field(description="Whether it comes with hemiec.")


class NumberTrace(Document):
    """One number of a candidate and the jobs that it was made from."""

    property: str = Field(description="Name of the number.")
    plan_id: str | None = Field(description="Result that it is from; null if it follows from the composition alone.")
    value: Any = Field(description="The number or what stands for it, in `unit`; null with a reason if there is none.")
    unit: str | None = Field(description="Unit; null if the schema's description of the field says it.")
    method: str | None = Field(description="How it was computed.")
    reason: str | None = Field(description="Why there is no value.")
    quantity: Quantity | None = Field(description="Spread, interval, correction; null if it is a plain number.")
    job_uuids: list[str] = Field(description="Jobs that it was computed from.")
    reference_job_uuids: list[str] = Field(description="Jobs of the reference phases that it is relative to.")


class Origin(Document):
    """The archive that a document came from."""

    archive: str = Field(description="SHA-256 of the archive's manifest, in hexadecimal.")
    file: str = Field(description="Name of the archive's file when it was imported.")
    title: str = Field(description="Title of the archive.")
    exported_on: datetime = Field(description="When it was written, UTC.")
    imported_on: datetime = Field(description="When it was imported, UTC.")


class Provenance(Document):
    """Where the numbers of a candidate come from."""

    candidate_id: str = Field(description="The candidate.")
    label: str = Field(description="Its short formula.")
    formula: str = Field(description="Its formula with site fractions.")
    campaigns: list[str] = Field(description="Campaigns that asked for it.")
    origin: Origin | None = Field(None, description="Archive that it was imported from; null if computed here.")
    numbers: list[NumberTrace] = Field(description="The numbers that were asked for.")
    jobs: list[JobTrace] = Field(description="Every job behind them, each after those it took something from.")
    protocols: list[ProtocolTrace] = Field(description="Every protocol of these jobs.")
    structures: list[StructureTrace] = Field(description="The candidate's structures.")
    references: list[ReferenceTrace] = Field(description="Reference phases behind the numbers.")
    calibrations: list[CalibrationTrace] = Field(description="Corrections behind the numbers.")
    versions: dict[str, list[str]] = Field(description="Code or package to the versions that the jobs ran with.")
    missing: list[str] = Field(description="What should be there and is not, in words.")


class ImportedDoc(Document):
    """That a candidate came from an archive, and what the archive says of its numbers; the collection `imported`."""

    candidate_id: str = Field(description="The candidate; key of the collection.")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    input_hash: str = Field(
        description="That of the imported candidate; one that was built here since has another one, and is no import."
    )
    origin: Origin = Field(description="The archive.")
    provenance: Provenance = Field(description="Where its numbers come from, as the archive says.")
