"""What a snapshot of the candidates says of itself: its manifest."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from hemiec.schemas.definition import LeaderboardDefinition
from hemiec.schemas.quantity import Document

#: Raise it when the files of a snapshot change so that an earlier hemiec could not read them.
SNAPSHOT_FORMAT = 1


class ColumnDoc(Document):
    """One column of the candidates."""

    name: str = Field(description="As in the query language, or as docs/snapshots.md lists it.")
    kind: Literal["number", "text", "truth", "date", "texts"] = Field(description="What it holds.")
    unit: str = Field(description="Of a number, 1 if it has none; empty for other kinds.")
    description: str = Field(description="What it says.")


class ProtocolUse(Document):
    """How many values of a property one protocol computed."""

    protocol: str | None = Field(description="Name of the protocol; null if a value does not say.")
    protocol_hash: str | None = Field(description="Hash of its physics.")
    n: int = Field(ge=1, description="Candidates whose best value it computed; unit 1.")


class PropertyUse(Document):
    """What the values of one property were computed and corrected by."""

    n_values: int = Field(ge=0, description="Candidates with a value; unit 1.")
    n_intervals: int = Field(ge=0, description="Candidates whose value has an interval; unit 1.")
    protocols: list[ProtocolUse] = Field(description="The protocols, the most used first.")
    calibrations: dict[str, int] = Field(description="calibration_id to the number of values it corrected; unit 1.")


class ReferenceSet(Document):
    """The reference phases that energies are relative to, as they were."""

    hash: str = Field(description="Hash of the energies below.")
    energies_per_atom: dict[str, dict[str, float]] = Field(
        description="Hash of a protocol to phase to its energy, in eV/atom; the protocol's own zero."
    )


class FileDoc(Document):
    """One file of a snapshot."""

    name: str = Field(description="In the folder of the manifest.", pattern=r"^[a-z]+\.parquet$")
    size_bytes: int = Field(ge=0, description="Its size, in bytes.")
    sha256: str = Field(description="SHA-256 of its bytes.", pattern=r"^[0-9a-f]{64}$")


class SnapshotContent(Document):
    """What was copied, by which rules, and what it was computed by; all but the file itself."""

    schema_version: int = Field(description="Layout of the documents in it; unit 1.")
    campaign: str | None = Field(None, description="Only candidates of this campaign; null for all in the store.")
    where: str = Field("", description="Condition that its candidates fulfil, in the language of `hemiec query`.")
    definition: LeaderboardDefinition | None = Field(
        None, description="The leaderboard that it was taken for; null if for none."
    )
    n_candidates: int = Field(ge=0, description="Number of candidates; unit 1.")
    properties: dict[str, PropertyUse] = Field(description="Property to the protocols behind its values.")
    references: ReferenceSet = Field(description="The reference phases.")
    builder_versions: list[int] = Field(description="Versions of the builder behind the documents, ascending; unit 1.")
    thermo_versions: list[int] = Field(description="Versions of the thermodynamics code behind them; unit 1.")
    columns: list[ColumnDoc] = Field(description="The columns of the table.")
    notes: list[str] = Field(default_factory=list, description="What a reader should know of it.")


class SnapshotManifest(SnapshotContent):
    """The file manifest.json of a snapshot.

    The id is a hash of everything in it but the time, the hashes of its files among them: whatever is changed later
    shows.
    """

    snapshot_id: str = Field(
        description="Content hash without the time: snap- and 16 hex digits.", pattern=r"^snap-[0-9a-f]{16}$"
    )
    format_version: int = Field(SNAPSHOT_FORMAT, description="Version of the files' layout; unit 1.")
    created_at: datetime = Field(description="When it was taken, UTC.")
    versions: dict[str, str] = Field(description="Versions of hemiec, Python and the libraries that wrote it.")
    files: list[FileDoc] = Field(description="The files beside the manifest.", min_length=1)
