"""The ladder of a campaign: tiers of rising cost, what promotes from one to the next, and what each may spend."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from hemiec.errors import did_you_mean
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Document

TierName = Literal["descriptors", "relax", "barrier", "gap", "confirm", "dynamics"]
#: The tiers in the order of their cost. `descriptors` computes nothing: every candidate comes with them.
TIERS: tuple[TierName, ...] = get_args(TierName)
Direction = Literal["minimise", "maximise"]
#: Property to the tier that computes it; descriptors are known from the first.
PROPERTY_TIER: dict[str, TierName] = {
    "formation_energy_per_atom": "relax",
    "formation_enthalpy_from_oxides_per_atom": "relax",
    "energy_above_hull": "relax",
    "interface_reaction_energy": "relax",
    "migration_barrier": "barrier",
    "band_gap": "gap",
    "confirmed_formation_enthalpy_from_oxides_per_atom": "confirm",
}
#: Numbers of a CandidateSpec, which need no calculation.
DESCRIPTORS = frozenset(
    name for name, field in CandidateSpec.model_fields.items() if field.annotation in (float, float | None)
)


class PromotionCriterion(Document):
    """One number that promotion goes by."""

    property: str = Field(description="Name of a quantity of CandidateDoc, or of a descriptor.")
    direction: Direction = Field("minimise", description="Which way is better.")
    weight: float = Field(1.0, gt=0, description="Weight in the score of several criteria; unit 1.")
    best: float | None = Field(None, description="Value that scores 1, in the property's unit.")
    worst: float | None = Field(None, description="Value that scores 0, in the property's unit.")

    @model_validator(mode="after")
    def _makes_sense(self) -> PromotionCriterion:
        if self.property not in DESCRIPTORS and self.property not in PROPERTY_TIER:
            hint = did_you_mean(self.property, [*DESCRIPTORS, *PROPERTY_TIER])
            raise ValueError(f"unknown property {self.property!r}; {hint}")
        if (self.best is None) != (self.worst is None):
            raise ValueError(f"{self.property}: give both `best` and `worst`, or neither")
        if self.best is None or self.worst is None:
            return self
        if self.best == self.worst or (self.best < self.worst) != (self.direction == "minimise"):
            relation = "below" if self.direction == "minimise" else "above"
            raise ValueError(
                f"{self.property}: to {self.direction}, expected best {relation} worst, "
                f"got best {self.best:g} and worst {self.worst:g}"
            )
        return self


class PromotionRule(Document):
    """Which candidates of a tier go on: exactly one of `top`, `pareto_layers` and `probability_in_top`."""

    top: int | None = Field(None, ge=1, strict=True, description="This many, the best first; unit 1.")
    pareto_layers: int | None = Field(None, ge=1, strict=True, description="All of the first layers; unit 1.")
    probability_in_top: int | None = Field(
        None, ge=1, strict=True, description="Those that may well be among this many best, given their spread; unit 1."
    )
    at_least: float | None = Field(
        None, gt=0, le=1, description="Probability from which `probability_in_top` promotes; 0.05 unless given; unit 1."
    )
    by: list[PromotionCriterion] = Field(
        min_length=1, description="What counts: a property, or a list of criteria as in a leaderboard."
    )
    direction: Direction | None = Field(None, description="Which way is better, where `by` is a single property.")

    @model_validator(mode="before")
    @classmethod
    def _one_property(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("by"), str):
            direction = {"direction": value["direction"]} if "direction" in value else {}
            rest = {k: v for k, v in value.items() if k not in ("by", "direction")}
            return {**rest, "by": [{"property": value["by"], **direction}]}
        return value

    @model_validator(mode="after")
    def _one_rule(self) -> PromotionRule:
        kinds = [k for k in ("top", "pareto_layers", "probability_in_top") if getattr(self, k) is not None]
        if len(kinds) != 1:
            got = " and ".join(kinds) or "none"
            raise ValueError(f"expected exactly one of top, pareto_layers and probability_in_top, got {got}")
        if self.direction is not None:
            raise ValueError("`direction` goes with a single property in `by`; in a list each criterion has its own")
        if self.at_least is not None and self.probability_in_top is None:
            raise ValueError("`at_least` goes with probability_in_top")
        names = [criterion.property for criterion in self.by]
        if len(set(names)) < len(names):
            raise ValueError(f"a property appears twice in `by`: {', '.join(names)}")
        if self.pareto_layers is None and len(self.by) > 1 and any(c.best is None for c in self.by):
            raise ValueError("several criteria are weighed on a scale: give each its `best` and `worst`")
        return self

    def describe(self) -> str:
        """Return what the rule goes by, in words."""
        names = ", ".join(f"{c.property} ({c.direction})" if len(self.by) == 1 else c.property for c in self.by)
        if self.pareto_layers is not None:
            return f"Pareto layer of {names}"
        if self.probability_in_top is not None:
            return f"probability of being in the top {self.probability_in_top} by {names}"
        return f"rank by {names}"


class TierBudget(Document):
    """What a tier may spend."""

    candidates: int | None = Field(
        None, ge=1, strict=True, description="Most candidates that are let into the tier; null for no limit; unit 1."
    )
    core_hours: float | None = Field(
        None, gt=0, description="Core-hours that its jobs may take in all; null for no limit."
    )
    first_batch: int = Field(
        4, ge=1, strict=True, description="Candidates let in to learn what one costs, under `core_hours`; unit 1."
    )
    cores_per_job: int | None = Field(
        None, ge=1, strict=True, description="Cores that a job of this tier takes; null for its protocol's; unit 1."
    )


class Tier(Document):
    """One tier of the ladder."""

    tier: TierName = Field(description="What is computed.")
    promote: PromotionRule | None = Field(None, description="Who goes on to the next tier; none for the last.")
    budget: TierBudget | None = Field(None, description="What the tier may spend; null for no limit.")


def _check(ladder: list[Tier]) -> list[Tier]:
    names = [tier.tier for tier in ladder]
    order = sorted(set(names), key=TIERS.index)
    if names != order:
        raise ValueError(f"expected each tier at most once and in the order {', '.join(TIERS)}; got {', '.join(names)}")
    if len(ladder) < 2:
        raise ValueError("expected at least two tiers; without `ladder`, everything is computed for all candidates")
    if ladder[-1].promote is not None:
        raise ValueError(f"{names[-1]}: the last tier promotes to nowhere; remove its `promote`")
    for tier in ladder[:-1]:
        if tier.promote is None:
            raise ValueError(f"{tier.tier}: `promote` is missing, such as {{top: 20, by: band_gap}}")
        for criterion in tier.promote.by:
            _require_known(criterion, tier.tier, names)
    if ladder[0].tier == "descriptors" and ladder[0].budget is not None:
        raise ValueError("descriptors: computes nothing and takes no `budget`")
    return ladder


def _require_known(criterion: PromotionCriterion, tier: TierName, names: list[TierName]) -> None:
    """Refuse a promotion by a number that no tier so far has computed; the relaxed cell is part of every later tier."""
    needed = TIERS[0] if criterion.property in DESCRIPTORS else PROPERTY_TIER[criterion.property]
    if TIERS.index(needed) > TIERS.index(tier):
        raise ValueError(f"{tier}: {criterion.property} is not known before tier {needed}")
    if needed in ("barrier", "gap") and needed not in names:
        raise ValueError(f"{tier}: {criterion.property} is computed by tier {needed}, which the ladder leaves out")


Ladder = Annotated[list[Tier], AfterValidator(_check)]


class JudgedValue(Document):
    """A number that promotion goes by, with what is known of its spread; or the reason why there is none."""

    value: float | None = Field(description="The number, in its property's unit; null if there is none.")
    std: float | None = Field(None, ge=0, description="Standard deviation in the same unit; null if not known.")
    interval: list[float] | None = Field(
        None, min_length=2, max_length=2, description="90 % interval in the same unit; null if not known."
    )
    reason: str | None = Field(None, description="Why there is no value; null if there is one.")


class PromotionEntry(Document):
    """One candidate of a tier, as its promotion sees it."""

    candidate_id: str = Field(description="Content hash of the composition.")
    label: str = Field(description="Short formula for people.")
    plan_id: str = Field(description="Hash of charges, cell, protocols, hops and seed.")
    estimates: dict[str, JudgedValue] = Field(description="Property to number.")


class Decision(Document):
    """What was decided about one candidate, and why."""

    candidate_id: str = Field(description="Content hash of the composition.")
    label: str = Field(description="Short formula for people.")
    plan_id: str = Field(description="Hash of charges, cell, protocols, hops and seed.")
    outcome: Literal["promoted", "not promoted", "held"] = Field(
        description="held: without a number it can be neither promoted nor passed over, until a rerun finds one."
    )
    reason: str = Field(description="Why, in words.")
    rank: int | None = Field(description="1 is best; null if held; unit 1.")
    pareto_layer: int | None = Field(None, description="1 is undominated; null if the rule is another; unit 1.")
    probability: float | None = Field(None, description="Of being in the top n; null if the rule is another; unit 1.")
    estimates: dict[str, JudgedValue] = Field(description="Property to number, as it was judged.")


class PromotionDoc(Document):
    """Result of a promotion: who goes on from a tier, in order, and why the others do not."""

    campaign: str = Field(description="Name of the campaign.")
    tier: TierName = Field(description="The tier that was judged.")
    rule: PromotionRule = Field(description="What promotes.")
    seed: int = Field(description="Seed of the random draws.")
    promoted: list[str] = Field(description="candidate_id of those that go on, in the order in which they do.")
    decisions: list[Decision] = Field(description="Every candidate of the tier: ranked ones first, then held ones.")
    versions: dict[str, str] = Field(description="Version of hemiec.")
