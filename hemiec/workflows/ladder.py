"""The job that promotes: it judges a tier's candidates by numbers that were gathered for it, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Job, Maker, job

from hemiec.ranking.promotion import promote
from hemiec.schemas.ladder import PromotionEntry, PromotionRule, TierName
from hemiec.workflows.identity import identify

#: Promotions are quick, and a whole tier waits for each.
PRIORITY = 100
#: Label of promotion jobs where others have their candidate's.
LABEL = "ladder"


@dataclass
class PromotionMaker(Maker):
    """Decide which candidates of a tier go on to the next.

    Parameters
    ----------
    name
        Job name; the tier is added.
    campaign
        Name of the campaign.
    """

    name: str = "promote from"
    campaign: str = ""

    @job
    def make(self, tier: TierName, entries: list[dict[str, Any]], rule: dict[str, Any], seed: int) -> dict[str, Any]:
        """Return a PromotionDoc for the PromotionEntry documents of a tier's candidates and a PromotionRule."""
        return promote(
            [PromotionEntry.model_validate(entry) for entry in entries],
            PromotionRule.model_validate(rule),
            campaign=self.campaign,
            tier=tier,
            seed=seed,
        ).to_mongo()


def promotion_flow(
    campaign: str, tier: TierName, entries: Sequence[PromotionEntry], rule: PromotionRule, seed: int
) -> Flow:
    """Return the flow of one promotion, named by campaign, tier, rule, seed and the candidates' numbers.

    The same numbers are the same job; a number that a rerun brought makes another one.
    """
    found = [entry.to_mongo() for entry in sorted(entries, key=lambda entry: entry.candidate_id)]
    rule_document = rule.to_mongo()
    promotion: Job = PromotionMaker(name=f"promote from {tier}", campaign=campaign).make(
        tier, found, rule_document, seed
    )
    identify(
        promotion,
        "promote",
        {"campaign": campaign, "tier": tier, "entries": found, "rule": rule_document, "seed": seed},
        step=f"promote-{tier}",
        priority=PRIORITY,
        metadata={"label": LABEL, "campaign": campaign, "tier": tier},
    )
    return Flow([promotion], name=f"{campaign} {promotion.name}")
