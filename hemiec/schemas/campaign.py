"""A campaign as a user writes it in YAML."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictInt, field_validator

from hemiec.schemas.quantity import Document

SiteEntry = dict[str, Any]


class SpaceEntry(Document):
    """One composition, or one family of compositions, on the sites of ABX3."""

    A: SiteEntry = Field(description="Species to fraction, or {choose: n, from: [...]} for every choice at 1/n each.")
    B: SiteEntry = Field(description="As A, for the B sublattice.")
    X: SiteEntry = Field(default_factory=lambda: {"O": 1}, description="As A, for the anions; default oxygen.")
    note: str = Field("", description="Why it is in the campaign.")


class SqsSettings(Document):
    """Which special quasirandom structure is made for each candidate."""

    max_atoms: int = Field(
        50, ge=5, le=400, strict=True, description="Largest cell; fractions must fit exactly; unit 1."
    )
    quality: Literal["fast", "standard", "best"] = Field("standard", description="Search effort.")


class ProtocolNames(Document):
    """Which protocol computes which property."""

    relax: str = Field("mlip-chgnet", description="Cell, energy and reference phases.")
    barrier: str | None = Field("mlip-chgnet", description="Vacancies and hops; null for none.")
    gap: str | None = Field("gpaw-fast", description="Band gap; null for none.")


class HopSettings(Document):
    """Which hops are sampled."""

    mobile: str = Field("O", description="Species that moves, on the X sublattice.")
    n: int = Field(3, ge=1, le=100, strict=True, description="Hops along the vacancy's walk; unit 1.")


class CampaignSpec(Document):
    """A whole campaign file."""

    name: str = Field(
        description="Short name, letters, digits and dashes.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
    )
    description: str = Field("", description="What the campaign is for.")
    seed: int = Field(0, ge=0, le=2**20, strict=True, description="Seed of everything that is drawn at random.")
    space: list[SpaceEntry] = Field(min_length=1, description="The compositions.")
    oxidation_states: dict[str, list[StrictInt]] = Field(
        default_factory=dict, description="Species to allowed formal oxidation states, in e; over the defaults."
    )
    sqs: SqsSettings = Field(default_factory=SqsSettings, description="Special quasirandom structures.")
    protocols: ProtocolNames = Field(default_factory=ProtocolNames, description="Which protocol for which property.")
    hops: HopSettings = Field(default_factory=HopSettings, description="Which hops.")

    @field_validator("oxidation_states", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if isinstance(v, list) else [v] for k, v in value.items()}
        return value
