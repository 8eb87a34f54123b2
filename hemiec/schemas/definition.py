"""What a leaderboard ranks by, as its YAML file states it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hemiec.schemas.quantity import Document

Direction = Literal["minimise", "maximise", "target"]
Transform = Literal["linear", "log"]
MissingRule = Literal["unranked", "leave_out", "whole_range"]


class Criterion(Document):
    """One property that counts, in which direction, how much, and on which fixed scale.

    A property that is minimised or maximised scores 1 at `best` and 0 at `worst`, in between linearly in the property
    or in its logarithm. One with a target scores 1 in `window` and falls, in the same way, to 0 at the two values of
    `zero_at`.
    """

    property: str = Field(description="Name of a quantity of CandidateDoc.")
    direction: Direction = Field(description="Which way is better; target: inside the window.")
    transform: Transform = Field("linear", description="Scale between the fixed values: of the property or its log.")
    best: float | None = Field(None, description="Value that scores 1, in the property's unit; not with a target.")
    worst: float | None = Field(None, description="Value that scores 0, in the property's unit; not with a target.")
    window: tuple[float, float] | None = Field(
        None, description="Of a target: the values between which the score is 1, in the property's unit."
    )
    zero_at: tuple[float | None, float | None] | None = Field(
        None,
        description="Of a target: values below and above the window that score 0, in the property's unit; "
        "null: all beyond that side of the window score 0.",
    )
    weight: float = Field(1.0, gt=0, description="Weight in the score; unit 1.")
    required: bool = Field(True, description="Whether a candidate without a value is left unranked.")
    missing: MissingRule = Field(
        "unranked",
        description="What a missing value does: unranked; leave_out: the other criteria make the score; whole_range: "
        "the score is in the middle of what any value could make it, and draws spread over all of that.",
    )
    standard_uncertainty: float | None = Field(
        None, gt=0, description="Taken for values without an interval of their own, in the property's unit."
    )

    @field_validator("best", "worst", "weight", "standard_uncertainty", mode="before")
    @classmethod
    def _no_truth(cls, value: object) -> object:
        """Refuse true and false, which would count as 1 and 0."""
        if isinstance(value, bool):
            raise PydanticCustomError("float_type", "Input should be a number")
        return value

    @model_validator(mode="before")
    @classmethod
    def _one_says_the_other(cls, content: object) -> object:
        """Fill in what a missing value does from `required`, or the other way round; a contradiction stays for a check.

        An optional criterion without a rule is left out of the score.
        """
        if not isinstance(content, dict):
            return content
        if content.get("required") is False and "missing" not in content:
            return content | {"missing": "leave_out"}
        if "required" not in content and content.get("missing") in ("leave_out", "whole_range"):
            return content | {"required": False}
        return content


class Ties(Document):
    """What candidates of equal score get."""

    rule: Literal["shared", "dense", "broken"] = Field(
        "shared",
        description="shared: equal scores share the better rank and the next ones are skipped (1, 1, 3); dense: "
        "none is skipped (1, 1, 2); broken: by the properties of `by`, shared if they are equal too.",
    )
    tolerance: float = Field(
        1e-9, ge=0, lt=1, description="Scores that differ by no more from the best of their group are equal; unit 1."
    )
    by: list[str] = Field(
        default_factory=list, description="Properties that break ties, the better first; each a criterion."
    )


class LeaderboardDefinition(Document):
    """The rules of a leaderboard, as a file in ``analysis/leaderboards`` states them."""

    name: str = Field(
        description="Name for files and links: lower case, digits and hyphens.",
        pattern=r"^[a-z0-9-]+$",
        max_length=64,
    )
    title: str = Field(description="Title for people.", min_length=1, max_length=200)
    description: str = Field("", description="What the leaderboard is for.")
    where: str = Field("", description="Condition that candidates must fulfil, in the language of `hemiec query`.")
    criteria: list[Criterion] = Field(description="What the rank is made of.", min_length=1)
    ties: Ties = Field(default_factory=Ties, description="What candidates of equal score get.")
    draws: int = Field(1_000, ge=100, le=100_000, description="Random draws behind the probabilities; unit 1.")
    top: int = Field(10, ge=1, le=1_000, description="Ranks that count as the top; unit 1.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the draws; unit 1.")
