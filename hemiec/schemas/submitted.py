"""What the store keeps of a submitted campaign: a header, and a plan of each of its candidates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import SCHEMA_VERSION, CandidateSpec
from hemiec.schemas.ladder import TierName
from hemiec.schemas.quantity import Document


class PlannedJob(Document):
    """A job of a campaign: what it computes, and what it takes."""

    uuid: str = Field(description="jobflow uuid, a hash of what it computes.")
    kind: str = Field(description="Kind of step: sqs, basin, sample, reference, ...; ends in -part within a flow.")
    step: str = Field(description="Which step of the workflow, such as basin.2 or sample-1.")
    name: str = Field(description="Job name.")
    tier: str | None = Field(None, description="Tier of the ladder that it belongs to; null before hemiec had ladders.")
    protocol: str | None = Field(None, description="Protocol name; null if no protocol computes it.")
    protocol_hash: str | None = Field(None, description="Hash of the protocol's physics.")
    resources: dict[str, int | float | str] | None = Field(
        None,
        description="What it takes of a cluster: category, cores (unit 1), memory_gib (in GiB), gpus (unit 1), "
        "walltime_min (in min).",
    )
    label: str | None = Field(None, description="Short formula of candidate or phase for people.")
    candidate_id: str | None = Field(None, description="The candidate that it computes; null for a reference phase.")
    plan_id: str | None = Field(None, description="Plan that it was first made for; equal work is shared by plans.")
    phase_id: str | None = Field(None, description="Reference phase that it computes; null for a candidate.")
    campaign: str | None = Field(None, description="Campaign of a promotion; null for every other job.")


class PlanDoc(Document):
    """One candidate of one campaign: how far it has come, and its jobs; the collection `plans`."""

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    campaign: str = Field(description="Name of the campaign.")
    order: int = Field(ge=0, description="Place of the candidate in the campaign, from 0; unit 1.")
    candidate: CandidateSpec = Field(description="Composition, charge balance and descriptors.")
    plan_id: str = Field(description="Hash of charges, cell, protocols, hops and seed.")
    tier: TierName | None = Field(
        None, description="Highest tier of the ladder that it was let into; null for none, or without a ladder."
    )
    stopped: str | None = Field(None, description="Why it goes no further for now; null if it does.")
    jobs: list[PlannedJob] = Field(description="Its jobs so far, in the order of making.")
    changed_at: datetime | None = Field(
        None, description="When it was last written, by the server's clock, UTC; null before the builder went by it."
    )


class CampaignDoc(Document):
    """A submitted campaign without its candidates; the collection `campaigns`."""

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    name: str = Field(description="Name of the campaign; the key of the collection.")
    spec: CampaignSpec = Field(description="The campaign file as it was read, protocol files included.")
    n_candidates: int = Field(ge=0, description="Number of its candidates; unit 1.")
    references: list[PlannedJob] = Field(description="Jobs of the reference phases, which no candidate owns.")
    added_phases: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Reference phases that users added, as `hemiec.thermo.references.table.ReferencePhase`.",
    )
    promotions: list[PlannedJob] = Field(default_factory=list, description="Promotion jobs of its ladder so far.")
    last_submitted: datetime | None = Field(None, description="When it was last submitted, UTC.")
    ladder_seen: str | None = Field(
        None, description="Hash of how its jobs had ended when its ladder had nothing new to decide; null before."
    )
    spent: bool = Field(False, description="Whether its budget of core-hours is spent, so that no more jobs start.")
