"""Which candidates of a tier go on to the next, and why the others do not.

Pure functions of the candidates' numbers: the same entries, rule and seed give the same decisions, whatever the order
of the entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import hemiec
from hemiec.errors import InputError
from hemiec.ranking.pareto import pareto_layers
from hemiec.ranking.scoring import scaled
from hemiec.ranking.spread import HalfNormals, half_normals, stream_keys, uniforms
from hemiec.schemas.definition import Criterion
from hemiec.schemas.ladder import Decision, JudgedValue, PromotionDoc, PromotionEntry, PromotionRule, TierName

Floats = NDArray[np.float64]
#: Random draws behind a probability: its standard error is below 0.005.
N_DRAWS = 10_000
#: Numbers drawn at a time: 8 MB of each criterion.
_CHUNK = 1_000_000
#: Probability from which `probability_in_top` promotes, unless the rule says another.
AT_LEAST = 0.05


def promote(
    entries: Sequence[PromotionEntry], rule: PromotionRule, *, campaign: str, tier: TierName, seed: int
) -> PromotionDoc:
    """Return who goes on from a tier, in order, and the decision about every candidate.

    Candidates with every number that the rule goes by are ranked; equal ones come in the order of ``candidate_id``.
    A candidate that lacks one is held: it is neither ranked nor left out, and comes back when it has the number.

    Parameters
    ----------
    entries
        All candidates of the tier, each once.
    rule
        What promotes.
    campaign, tier
        Whose entries they are; kept in the result.
    seed
        Seed of the draws behind ``probability_in_top``.

    Raises
    ------
    InputError
        If a candidate comes twice.
    """
    ordered = sorted(entries, key=lambda entry: entry.candidate_id)
    ids = [entry.candidate_id for entry in ordered]
    if len(set(ids)) < len(ids):
        raise InputError(f"promotion from tier {tier}: a candidate comes twice; expected each once.")
    known: list[PromotionEntry] = []
    held: list[PromotionEntry] = []
    for entry in ordered:
        missing = any(entry.estimates[c.property].value is None for c in rule.by)
        (held if missing else known).append(entry)
    decisions = [*_decide(known, rule, tier, seed), *(_hold(entry, rule, tier) for entry in held)]
    return PromotionDoc(
        campaign=campaign,
        tier=tier,
        rule=rule,
        seed=seed,
        promoted=[decision.candidate_id for decision in decisions if decision.outcome == "promoted"],
        decisions=decisions,
        versions={"hemiec": hemiec.__version__},
    )


def probabilities_in_top(entries: Sequence[PromotionEntry], rule: PromotionRule, n: int, seed: int) -> Floats:
    """Return each candidate's probability of being among the n best, shape=(n_candidates,); unit 1.

    Every number is drawn independently from the distribution that its 90 % interval or its standard deviation states;
    a number with neither counts as exact. A draw ranks all candidates at once.
    """
    ids = np.array([entry.candidate_id for entry in entries], dtype=np.str_)
    spreads = [_spread([entry.estimates[c.property] for entry in entries]) for c in rule.by]
    keys = [stream_keys(ids, c.property, seed) for c in rule.by]
    at_once = min(N_DRAWS, max(1, _CHUNK // len(entries)))
    hits = np.zeros(len(entries), dtype=np.int64)
    for first in range(0, N_DRAWS, at_once):
        count = min(at_once, N_DRAWS - first)
        drawn = [spread.at(uniforms(key, first, count)) for spread, key in zip(spreads, keys, strict=True)]
        best = np.argsort(_costs(np.stack(drawn, axis=-1), rule), axis=1, kind="stable")[:, :n]
        hits += np.bincount(best.ravel(), minlength=len(entries))
    return hits / N_DRAWS


def _decide(entries: list[PromotionEntry], rule: PromotionRule, tier: TierName, seed: int) -> list[Decision]:
    """Return the decisions about candidates that have every number, the best first."""
    if not entries:
        return []
    values = np.array([[entry.estimates[c.property].value for c in rule.by] for entry in entries], dtype=np.float64)
    costs = _costs(values, rule)
    layers: NDArray[np.int64] | None = None
    probabilities: Floats | None = None
    if rule.pareto_layers is not None:
        signs = [1.0 if c.direction == "minimise" else -1.0 for c in rule.by]
        layers = pareto_layers(values * signs).tolist()
        order = [int(i) for i in np.lexsort((costs, layers))]
        goes_on = [bool(layer <= rule.pareto_layers) for layer in layers]
    elif rule.probability_in_top is not None:
        probabilities = probabilities_in_top(entries, rule, rule.probability_in_top, seed)
        order = sorted(range(len(entries)), key=lambda i: (-probabilities[i], costs[i]))
        goes_on = [p >= (rule.at_least or AT_LEAST) for p in probabilities]
    else:
        order = sorted(range(len(entries)), key=lambda i: costs[i])
        chosen = set(order[: rule.top])
        goes_on = [i in chosen for i in range(len(entries))]
    n_on = sum(goes_on)
    decisions = []
    for rank, i in enumerate(order, start=1):
        layer = int(layers[i]) if layers is not None else None
        probability = float(probabilities[i]) if probabilities is not None else None
        standing = _standing(rule, rank, len(entries), layer, probability)
        verdict: Literal["promoted", "not promoted"] = "promoted" if goes_on[i] else "not promoted"
        decisions.append(
            Decision(
                **_about(entries[i], rule),
                outcome=verdict,
                reason=f"{verdict} from tier {tier}: {standing}; {n_on} go on",
                rank=rank,
                pareto_layer=layer,
                probability=probability,
            )
        )
    return decisions


def _standing(rule: PromotionRule, rank: int, n: int, layer: int | None, probability: float | None) -> str:
    names = ", ".join(criterion.property for criterion in rule.by)
    if layer is not None:
        return f"Pareto layer {layer} of {names}, the first {rule.pareto_layers} are taken"
    if probability is not None:
        least = rule.at_least or AT_LEAST
        place = f"the top {rule.probability_in_top} by {names}"
        return f"probability {probability:.3f} of being in {place}, {least:g} is asked"
    return f"rank {rank} of {n} by {names}"


def _hold(entry: PromotionEntry, rule: PromotionRule, tier: TierName) -> Decision:
    missing = [
        f"{c.property} ({entry.estimates[c.property].reason})"
        for c in rule.by
        if entry.estimates[c.property].value is None
    ]
    return Decision(
        **_about(entry, rule), outcome="held", reason=f"held at tier {tier}: no {'; no '.join(missing)}", rank=None
    )


def _about(entry: PromotionEntry, rule: PromotionRule) -> dict[str, Any]:
    return {
        "candidate_id": entry.candidate_id,
        "label": entry.label,
        "plan_id": entry.plan_id,
        "estimates": {c.property: entry.estimates[c.property] for c in rule.by},
    }


def _costs(values: Floats, rule: PromotionRule) -> Floats:
    """Return what is minimised, shape=(...,) for values of shape=(..., n_criteria).

    Several criteria with scales count as minus their score on a leaderboard (:mod:`hemiec.ranking.scoring`); else the
    first counts as it is.
    """
    if len(rule.by) > 1 and all(c.best is not None for c in rule.by):
        criteria = [Criterion(**c.model_dump()) for c in rule.by]
        weighted = sum(c.weight * scaled(values[..., j], c) for j, c in enumerate(criteria))
        return np.asarray(-weighted / sum(c.weight for c in criteria))
    return values[..., 0] * (1.0 if rule.by[0].direction == "minimise" else -1.0)


def _spread(estimates: list[JudgedValue]) -> HalfNormals:
    """Return the distributions that the intervals state, and the standard deviations of numbers without one."""
    nothing = (np.nan, np.nan)
    rows = [(e.value, *(e.interval or nothing), e.std or 0.0) for e in estimates]
    value, low, high, std = np.array(rows, dtype=np.float64).T
    return half_normals(value, low, high, standard_uncertainty=std)
