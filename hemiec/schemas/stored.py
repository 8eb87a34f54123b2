"""The parts of a candidate that have collections of their own, as the builder stores them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.schemas.dynamics import ArrheniusDoc
from hemiec.schemas.quantity import Document
from hemiec.schemas.thermo import Thermodynamics
from hemiec.schemas.transport import HopSummary, TransportSummary


class Stored(Document):
    """What every document of a result carries: whose it is, what it was built from, and when."""

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    candidate_id: str = Field(description="The candidate that it belongs to.")
    plan_id: str = Field(description="Hash of the cell and protocols of the result that it belongs to.")
    label: str = Field(description="The candidate's short formula for people, such as (La,Sr)CoO3.")
    input_hash: str = Field(description="Hash of everything the candidate's documents were built from.")
    last_updated: datetime = Field(description="When this document was built, UTC.")


class HopDoc(Stored, HopSummary):
    """One computed hop of a candidate; the collection `hops`."""

    hop_id: str = Field(description="candidate_id, plan_id and order, with colons; the key of the collection.")
    order: int = Field(description="Place in the order of computing, from 0; unit 1.")
    elements: list[str] = Field(description="Elements that the hop passes, alphabetical.")
    protocol: str | None = Field(description="Protocol of the barriers.")
    protocol_hash: str | None = Field(description="Hash of its physics.")


class TransportDoc(Stored):
    """Network, energies and conduction of one result of a candidate; the collection `transport`."""

    transport_id: str = Field(description="candidate_id and plan_id, with a colon; the key of the collection.")
    transport: TransportSummary | None = Field(description="Exact solution on the network; null if there is none.")
    dynamics: ArrheniusDoc | None = Field(description="Molecular dynamics beside it; null if there is none.")


class ThermodynamicsDoc(Stored):
    """Hull, temperature, oxygen, windows and interfaces of one result; the collection `thermodynamics`."""

    thermodynamics_id: str = Field(description="candidate_id and plan_id, with a colon; the key of the collection.")
    thermodynamics: Thermodynamics = Field(description="All of it, each part null with a reason where it is missing.")


class StructureDoc(Stored):
    """One special quasirandom structure of a candidate, ideal and relaxed; the collection `structures`.

    Names of what says something of the cell are those of emmet's structure metadata.
    """

    structure_id: str = Field(description="candidate_id, plan_id and member, with colons; the key of the collection.")
    member: int = Field(description="Number within its ensemble, from 0; unit 1.")
    formula_pretty: str = Field(description="Reduced formula of the cell.")
    formula_anonymous: str = Field(description="The same with the elements A, B, C, ...")
    chemsys: str = Field(description="Elements, alphabetical, joined with hyphens.")
    elements: list[str] = Field(description="Elements, alphabetical.")
    nelements: int = Field(description="Number of elements; unit 1.")
    nsites: int = Field(description="Atoms in the cell; unit 1.")
    ideal_structure: dict[str, Any] = Field(
        description="pymatgen Structure: SQS on ideal cubic sites; vacant sites left out."
    )
    structure: dict[str, Any] | None = Field(description="pymatgen Structure: relaxed; null if it is not.")
    volume: float | None = Field(description="Volume of the relaxed cell, in angstrom^3; null if it is not relaxed.")
    density: float | None = Field(description="Density of the relaxed cell, in g/cm^3; null if it is not relaxed.")
    energy_per_atom: float | None = Field(
        description="Energy of the relaxed cell, in eV/atom; the protocol's own zero; null if it is not relaxed."
    )
    max_force: float | None = Field(description="Largest force on an atom of it, in eV/angstrom.")
    tilt: str | None = Field(description="Its octahedral tilts in Glazer's notation with angles; null if not named.")
    supercell: list[list[int]] = Field(description="Rows: cell vectors in units of the cubic lattice parameter.")
    shortest_image_distance: float = Field(description="Shortest distance between periodic images, in angstrom.")
    net_charge: float = Field(description="Formal charge of the cell's composition, in e per formula unit.")
    rounding: float = Field(description="Largest deviation of a realised from a requested site fraction; unit 1.")
    warren_cowley_rms: float = Field(description="SQS error, as in SqsDoc; unit 1.")
    icet_l1: float = Field(description="SQS error L1 of icet's cluster vector; unit 1.")
    seed: int = Field(description="Seed of the SQS.")
    notes: list[str] = Field(default_factory=list, description="What a reader should know of the SQS.")
    sqs_job_uuid: str = Field(description="jobflow job that made the SQS.")
    relax_job_uuid: str | None = Field(description="jobflow job that relaxed it; null if it has not finished.")
    protocol: str | None = Field(description="Protocol of the relaxation; null if there is none.")
    protocol_hash: str | None = Field(description="Hash of its physics.")
    versions: dict[str, str] = Field(description="Code versions of the jobs.")
