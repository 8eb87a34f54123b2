"""The ladder: what a file may say, who is promoted, budgets, and the climb on a real store with real jobs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fireworks import LaunchPad
from pydantic import ValidationError

from hemiec.errors import CampaignError, InputError
from hemiec.launch.fireworks.crew import Crew
from hemiec.launch.fireworks.names import worker_name
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.launch.ladder import advance
from hemiec.launch.status import Status, read_status
from hemiec.launch.submit import plan_submission, submit
from hemiec.launch.tiers import TierState, admit
from hemiec.ranking.promotion import probabilities_in_top, promote
from hemiec.ranking.scoring import scaled_matrix, scores
from hemiec.schemas.definition import Criterion
from hemiec.schemas.documents import PROPERTIES, CandidateResult
from hemiec.schemas.ladder import PROPERTY_TIER, TIERS, JudgedValue, PromotionDoc, PromotionEntry, PromotionRule, Tier
from hemiec.settings import Settings
from hemiec.store.building.builder import build
from hemiec.store.campaigns import plans_of
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database
from hemiec.workflows.campaign import Campaign, load_campaign

# Rules


def entry(name: str, **numbers: float | dict[str, Any] | None) -> PromotionEntry:
    """Return an entry; a number, a mapping of a JudgedValue's keys, or None for a missing one."""

    def estimate(number: float | dict[str, Any] | None) -> JudgedValue:
        if number is None:
            return JudgedValue(value=None, reason="job 1 failed")
        return JudgedValue.model_validate(number if isinstance(number, dict) else {"value": number})

    estimates = {key: estimate(number) for key, number in numbers.items()}
    return PromotionEntry(candidate_id=name, label=name.upper(), plan_id="p", estimates=estimates)


def decide(entries: list[PromotionEntry], **rule: Any) -> PromotionDoc:
    return promote(entries, PromotionRule.model_validate(rule), campaign="c", tier="gap", seed=0)


GAPS = [entry("a", band_gap=3.0), entry("b", band_gap=1.0), entry("c", band_gap=2.0), entry("d", band_gap=0.0)]


@pytest.mark.parametrize(
    ("rule", "promoted"),
    [
        ({"top": 2, "by": "band_gap"}, ["d", "b"]),
        ({"top": 2, "by": "band_gap", "direction": "maximise"}, ["a", "c"]),
        ({"top": 9, "by": "band_gap"}, ["d", "b", "c", "a"]),
        ({"pareto_layers": 1, "by": "band_gap"}, ["d"]),
        ({"pareto_layers": 3, "by": "band_gap"}, ["d", "b", "c"]),
        ({"probability_in_top": 2, "by": "band_gap"}, ["d", "b"]),
    ],
    ids=str,
)
def test_who_is_promoted_by_one_number(rule: dict[str, Any], promoted: list[str]) -> None:
    doc = decide(GAPS, **rule)
    assert doc.promoted == promoted
    assert [d.rank for d in doc.decisions] == [1, 2, 3, 4]
    assert {d.candidate_id for d in doc.decisions} == {"a", "b", "c", "d"}
    assert decide(GAPS[::-1], **rule) == doc


def test_the_reason_says_where_a_candidate_stood() -> None:
    reasons = {d.candidate_id: d.reason for d in decide(GAPS, top=2, by="band_gap").decisions}
    assert reasons["a"] == "not promoted from tier gap: rank 4 of 4 by band_gap; 2 go on"
    assert reasons["d"] == "promoted from tier gap: rank 1 of 4 by band_gap; 2 go on"


def test_equal_numbers_come_in_the_order_of_their_ids() -> None:
    same = [entry(name, band_gap=1.0) for name in "dacb"]
    assert decide(same, top=2, by="band_gap").promoted == ["a", "b"]
    # In a Pareto layer nobody is left out for his name.
    assert decide(same, pareto_layers=1, by="band_gap").promoted == ["a", "b", "c", "d"]
    assert decide(same, probability_in_top=2, by="band_gap").promoted == ["a", "b"]


@pytest.mark.parametrize("rule", [{"top": 3}, {"pareto_layers": 9}, {"probability_in_top": 3}], ids=str)
def test_a_candidate_without_a_number_is_held_with_the_reason_and_counts_for_nothing(rule: dict[str, Any]) -> None:
    some = [entry("a", band_gap=None), entry("b", band_gap=1.0), entry("c", band_gap=2.0)]
    doc = decide(some, by="band_gap", **rule)
    assert doc.promoted == ["b", "c"]
    held = doc.decisions[-1]
    assert (held.candidate_id, held.outcome, held.rank) == ("a", "held", None)
    assert held.reason == "held at tier gap: no band_gap (job 1 failed)"
    assert "of 3" not in doc.decisions[0].reason
    # With its number it is the best.
    assert decide([entry("a", band_gap=0.5), *some[1:]], by="band_gap", **rule).promoted[0] == "a"


def test_nobody_and_everybody_held() -> None:
    assert decide([], top=1, by="band_gap").decisions == []
    doc = decide([entry("a", band_gap=None)], probability_in_top=1, by="band_gap")
    assert doc.promoted == [] and doc.decisions[0].outcome == "held"
    with pytest.raises(InputError, match="comes twice"):
        decide([GAPS[0], GAPS[0]], top=1, by="band_gap")


BOTH = [
    {"property": "band_gap", "best": 0, "worst": 3, "weight": 2},
    {"property": "tolerance_factor", "direction": "maximise", "best": 1, "worst": 0.8},
]


def test_weighted_criteria_are_the_score_of_a_leaderboard() -> None:
    generator = np.random.default_rng(3)
    some = [
        entry(f"c{i:02}", band_gap=float(g), tolerance_factor=float(t))
        for i, (g, t) in enumerate(zip(generator.uniform(-1, 4, 40), generator.uniform(0.7, 1.1, 40), strict=True))
    ]
    criteria = [Criterion.model_validate({"direction": "minimise"} | c) for c in BOTH]
    columns = {c.property: np.array([e.estimates[c.property].value or 0.0 for e in some]) for c in criteria}
    score = dict(zip([e.candidate_id for e in some], scores(scaled_matrix(columns, criteria), criteria), strict=True))
    expected = sorted(score, key=lambda key: (-round(score[key], 12), key))[:7]
    assert decide(some, top=7, by=BOTH).promoted == expected
    assert decide(some, probability_in_top=7, by=BOTH).promoted == expected


def test_pareto_layers_take_whole_layers() -> None:
    some = [
        entry("a", band_gap=0.0, tolerance_factor=0.8),
        entry("b", band_gap=1.0, tolerance_factor=1.0),
        entry("c", band_gap=1.0, tolerance_factor=0.9),  # dominated by b
        entry("d", band_gap=2.0, tolerance_factor=0.85),  # dominated by b and c
    ]
    by = [{"property": "band_gap"}, {"property": "tolerance_factor", "direction": "maximise"}]
    doc = decide(some, pareto_layers=2, by=by)
    assert doc.promoted == ["a", "b", "c"]
    assert {d.candidate_id: d.pareto_layer for d in doc.decisions} == {"a": 1, "b": 1, "c": 2, "d": 3}
    assert "Pareto layer 3 of band_gap, tolerance_factor, the first 2 are taken" in doc.decisions[-1].reason


# Probability


def test_two_equal_candidates_share_the_first_place() -> None:
    rule = PromotionRule.model_validate({"probability_in_top": 1, "by": "band_gap"})
    pair = [entry("a", band_gap={"value": 1.0, "std": 0.2}), entry("b", band_gap={"value": 1.0, "std": 0.2})]
    found = probabilities_in_top(pair, rule, 1, seed=0)
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx([0.5, 0.5], abs=0.02)  # four standard errors


def test_probabilities_follow_the_normal_distribution() -> None:
    """P(X < Y) of independent normal variables is Phi((m_Y - m_X) / sqrt(s_X^2 + s_Y^2))."""
    rule = PromotionRule.model_validate({"probability_in_top": 1, "by": "band_gap"})
    pair = [entry("a", band_gap={"value": 1.0, "std": 0.3}), entry("b", band_gap={"value": 1.5, "std": 0.4})]
    assert probabilities_in_top(pair, rule, 1, seed=1)[0] == pytest.approx(0.8413, abs=0.02)


def test_an_interval_counts_before_the_standard_deviation_and_keeps_its_5_and_95_percent() -> None:
    rule = PromotionRule.model_validate({"probability_in_top": 1, "by": "band_gap"})
    wide = {"value": 1.0, "std": 9.0, "interval": [0.9, 1.8]}
    for threshold, below in ((0.9, 0.05), (1.0, 0.5), (1.8, 0.95)):
        pair = [entry("a", band_gap=wide), entry("b", band_gap=threshold)]
        assert probabilities_in_top(pair, rule, 1, seed=0)[0] == pytest.approx(below, abs=0.02)
    # A corrected interval that does not hold the raw value has its own middle.
    shifted = [entry("a", band_gap={"value": 5.0, "interval": [0.0, 2.0]}), entry("b", band_gap=1.0)]
    assert probabilities_in_top(shifted, rule, 1, seed=0)[0] == pytest.approx(0.5, abs=0.02)


def test_a_wide_candidate_may_go_on_where_a_sharp_one_may_not() -> None:
    some = [
        *(entry(f"best{i}", migration_barrier={"value": 0.3 + 0.01 * i, "std": 0.01}) for i in range(3)),
        entry("sharp", migration_barrier={"value": 0.5, "std": 0.01}),
        entry("wide", migration_barrier={"value": 0.6, "std": 0.3}),
    ]
    doc = decide(some, probability_in_top=3, by="migration_barrier", at_least=0.1)
    assert "wide" in doc.promoted and "sharp" not in doc.promoted
    probabilities = [d.probability or 0.0 for d in doc.decisions]
    assert sum(probabilities) == pytest.approx(3)  # every draw has a top three
    assert probabilities == sorted(probabilities, reverse=True)
    assert decide(some, probability_in_top=3, by="migration_barrier", at_least=0.1) == doc


# What a file may say

GOOD: dict[str, Any] = {
    "name": "t",
    "space": [{"A": {"Sr": 1}, "B": {"Ti": 1}}],
    "protocols": {"gap": "gpaw-fast"},
    # Reference phases are jobs like others here; what is shipped is tested in test_reference_jobs.py.
    "competitors": "none",
    "shipped_references": False,
}
TO_RELAX = {"tier": "descriptors", "promote": {"top": 5, "by": "bartel_tau"}}
TO_BARRIER = {"tier": "relax", "promote": {"top": 5, "by": "formation_energy_per_atom"}}


def write(folder: Path, ladder: Any, **changes: Any) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(GOOD | {"ladder": ladder} | changes, sort_keys=False))
    return path


BAD: dict[str, tuple[Any, list[str]]] = {
    "unknown tier": ([{"tier": "relaxx"}], ["'ladder.0.tier'", "'descriptors', 'relax'", "'relaxx'"]),
    "empty": ([], ["'ladder'", "at least two tiers"]),
    "one tier": ([{"tier": "relax"}], ["'ladder'", "at least two tiers"]),
    "wrong order": ([TO_BARRIER, TO_RELAX], ["'ladder'", "in the order descriptors, relax", "relax, descriptors"]),
    "a tier twice": ([TO_BARRIER, TO_BARRIER, {"tier": "gap"}], ["'ladder'", "at most once"]),
    "last promotes": ([TO_RELAX, TO_BARRIER], ["relax: the last tier promotes to nowhere"]),
    "nothing promotes": ([{"tier": "relax"}, {"tier": "gap"}], ["relax: `promote` is missing"]),
    "unknown key": ([{"tier": "relax", "promot": {}}, {"tier": "gap"}], ["ladder.0.promot", "did you mean 'promote'"]),
    "unknown key of a rule": (
        [{"tier": "relax", "promote": {"topp": 1, "by": "bartel_tau"}}, {"tier": "gap"}],
        ["ladder.0.promote.topp", "did you mean 'top'"],
    ),
    "unknown key of a budget": (
        [TO_BARRIER | {"budget": {"core_hour": 1}}, {"tier": "gap"}],
        ["ladder.0.budget.core_hour", "did you mean 'core_hours'"],
    ),
    "two rules": (
        [{"tier": "relax", "promote": {"top": 1, "pareto_layers": 1, "by": "bartel_tau"}}, {"tier": "gap"}],
        ["ladder.0.promote", "exactly one of", "top and pareto_layers"],
    ),
    "no rule": ([{"tier": "relax", "promote": {"by": "bartel_tau"}}, {"tier": "gap"}], ["exactly one of", "got none"]),
    "nothing to go by": ([{"tier": "relax", "promote": {"top": 1}}, {"tier": "gap"}], ["ladder.0.promote.by"]),
    "top nobody": ([{"tier": "relax", "promote": {"top": 0, "by": "bartel_tau"}}, {"tier": "gap"}], ["promote.top"]),
    "half a candidate": (
        [{"tier": "relax", "promote": {"top": 1.5, "by": "bartel_tau"}}, {"tier": "gap"}],
        ["promote.top", "integer"],
    ),
    "unknown property": (
        [{"tier": "relax", "promote": {"top": 1, "by": "bartel_tua"}}, {"tier": "gap"}],
        ["ladder.0.promote.by.0", "did you mean 'bartel_tau'"],
    ),
    "unknown direction": (
        [{"tier": "relax", "promote": {"top": 1, "by": "bartel_tau", "direction": "down"}}, {"tier": "gap"}],
        ["direction", "'minimise' or 'maximise'", "'down'"],
    ),
    "direction beside a list": (
        [{"tier": "relax", "promote": {"top": 1, "by": [{"property": "bartel_tau"}], "direction": "maximise"}},
         {"tier": "gap"}],
        ["`direction` goes with a single property"],
    ),
    "no scale": (
        [{"tier": "relax", "promote": {"top": 1, "by": [{"property": "bartel_tau"}, {"property": "scarcity"}]}},
         {"tier": "gap"}],
        ["`best` and `worst`"],
    ),
    "scale upside down": (
        [{"tier": "relax", "promote": {"top": 1, "by": [{"property": "bartel_tau", "best": 4, "worst": 3}]}},
         {"tier": "gap"}],
        ["to minimise, expected best below worst"],
    ),
    "a property twice": (
        [{"tier": "relax", "promote": {"pareto_layers": 1, "by": [{"property": "bartel_tau"}] * 2}}, {"tier": "gap"}],
        ["appears twice"],
    ),
    "chance without probability": (
        [{"tier": "relax", "promote": {"top": 1, "by": "bartel_tau", "at_least": 0.1}}, {"tier": "gap"}],
        ["`at_least` goes with probability_in_top"],
    ),
    "not known yet": (
        [{"tier": "relax", "promote": {"top": 1, "by": "band_gap"}}, {"tier": "gap"}],
        ["relax: band_gap is not known before tier gap"],
    ),
    "never known": (
        [TO_RELAX, {"tier": "gap", "promote": {"top": 1, "by": "migration_barrier"}}, {"tier": "confirm"}],
        ["gap: migration_barrier is computed by tier barrier, which the ladder leaves out"],
    ),
    "budget of nothing": ([TO_RELAX | {"budget": {"candidates": 3}}, {"tier": "relax"}], ["takes no `budget`"]),
    "negative budget": ([TO_BARRIER | {"budget": {"core_hours": -1}}, {"tier": "gap"}], ["budget.core_hours"]),
    "tier without protocol": (
        [TO_BARRIER, {"tier": "confirm"}],
        ["ladder: tier confirm", "protocols.confirm is null"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_ladders_are_told_in_one_line(tmp_path: Path, case: str) -> None:
    ladder, expected = BAD[case]
    with pytest.raises(CampaignError) as caught:
        load_campaign(write(tmp_path, ladder))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    for part in expected:
        assert part in message


def test_every_property_has_a_tier_that_computes_it() -> None:
    assert set(PROPERTIES) <= set(PROPERTY_TIER) <= set(CandidateResult.model_fields)
    assert set(PROPERTY_TIER.values()) <= set(TIERS)


def test_a_rule_reads_as_it_was_written_after_a_trip_through_the_store() -> None:
    rule = PromotionRule.model_validate({"top": 3, "by": "bartel_tau", "direction": "minimise"})
    assert PromotionRule.model_validate(rule.to_mongo()) == rule
    with pytest.raises(ValidationError):
        PromotionRule.model_validate({"top": 3, "by": []})


# Budgets


def tier_state(n_queue: int, n_entered: int, *, used: float = 0.0, working: int = 0, **budget: Any) -> TierState:
    ids = [f"c{i}" for i in range(n_queue)]
    tier = Tier.model_validate({"tier": "barrier", "budget": budget or None})
    return TierState(tier, ids, ids[:n_entered], ids[:working], [], 0, used, [])


@pytest.mark.parametrize(
    ("state", "n", "reason"),
    [
        (tier_state(5, 0), 5, None),
        (tier_state(5, 5, candidates=3), 0, None),
        (tier_state(5, 0, candidates=9), 5, None),
        (tier_state(5, 0, candidates=3), 3, "its budget of 3 candidates is used"),
        (tier_state(5, 2, candidates=3, working=2), 1, "its budget of 3 candidates is used"),
        (tier_state(5, 0, core_hours=1), 4, "the first 4 show what a candidate costs"),
        (tier_state(5, 0, core_hours=1, first_batch=2), 2, "the first 2 show"),
        (tier_state(5, 2, core_hours=1, first_batch=2, working=1, used=0.1), 0, "those before it show"),
        (tier_state(9, 2, core_hours=1, used=0.4), 3, "of its budget of 1 core-hours 0.4 are used, and a candidate"),
        (tier_state(9, 2, core_hours=1, used=0.4, candidates=3), 1, "its budget of 3 candidates is used"),
        (tier_state(5, 2, core_hours=1, used=0.4), 3, None),
        (tier_state(5, 2, core_hours=1, used=1.3), 0, "1.3 are used, and a candidate takes 0.65"),
        (tier_state(5, 2, core_hours=1, used=0.0), 3, None),  # all came from elsewhere and cost nothing here
    ],
)  # fmt: skip
def test_who_is_let_in_within_the_budget(state: TierState, n: int, reason: str | None) -> None:
    admitted, why = admit(state)
    assert admitted == state.queue[len(state.entered) :][:n]
    if reason is None:
        assert why is None
    else:
        assert why is not None and why.startswith("waits for tier barrier: ") and reason in why


# The climb on a real store

CLIMB: dict[str, Any] = {
    "name": "climb",
    "space": [{"A": {"choose": 1, "from": ["Ca", "Sr", "Ba"]}, "B": {"Ti": 1}}],
    "sqs": {"max_atoms": 10, "quality": "fast"},
    "protocols": {"gap": None},
    "competitors": "none",
    "shipped_references": False,
    "hops": {"n": 1},
    "ladder": [
        {"tier": "descriptors", "promote": {"top": 2, "by": "tolerance_factor", "direction": "maximise"}},
        {"tier": "relax", "promote": {"top": 1, "by": "formation_enthalpy_from_oxides_per_atom"}},
        {"tier": "barrier"},
    ],
}


def climbing(folder: Path, **changes: Any) -> Campaign:
    path = folder / "climb.yaml"
    path.write_text(yaml.safe_dump(CLIMB | changes, sort_keys=False))
    return load_campaign(path)


def run_promotions(database: Database, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    """Run the promotion jobs that are ready, in this process, as a worker would; return how many."""
    import jobflow
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import launch_rocket

    store = database.job_store()
    worker = FWorker(name=worker_name(), query={"spec.hemiec.kind": "promote"})
    n = 0
    with monkeypatch.context() as here:
        here.setattr(jobflow.SETTINGS, "JOB_STORE", store)
        here.chdir(folder)
        while launchpad.run_exists(worker):
            assert launch_rocket(launchpad, worker, strm_lvl="CRITICAL")
            n += 1
    store.close()
    return n


def tiers_of(database: Database) -> dict[str, str | None]:
    return {plan["candidate"]["formula"]: plan["tier"] for plan in plans_of(database, "climb")}


def stopped(database: Database) -> dict[str, str | None]:
    return {plan["candidate"]["formula"]: plan["stopped"] for plan in plans_of(database, "climb")}


def n_jobs(database: Database, kind: str) -> int:
    return int(database["fireworks"].count_documents({"spec.hemiec.kind": kind}))


def hemiec(*arguments: str) -> str:
    """Return what a command prints, in the data folder of the test."""
    command = [sys.executable, "-m", "hemiec.cli.main", *arguments]
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.mark.store
def test_descriptors_promote_and_only_the_promoted_are_computed(
    database: Database, queue: FireWorksQueue, launchpad: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = climbing(tmp_path)
    assert campaign.flows == []
    assert plan_submission(queue, campaign).added == 0
    assert submit(queue, campaign).added == 1
    assert [job.step for job in read_status(queue, "climb").jobs] == ["promote-descriptors"]
    assert [t.waiting_for for t in read_status(queue, "climb").tiers] == [
        "promotion job", "tier descriptors", "tier relax",
    ]  # fmt: skip
    assert advance(queue, "climb").added == 0  # it has not run yet
    assert run_promotions(database, launchpad, monkeypatch, tmp_path) == 1
    status = read_status(queue, "climb")
    assert status.jobs_settled and not status.settled

    step = json.loads(hemiec("promote", "climb", "--json"))
    assert step["actions"] == ["2 candidates enter tier relax"] and step["added"] > 10
    assert not step["settled"] and [tier["promoted"] for tier in step["tiers"]] == [2, 0, 0]
    shown = hemiec("status", "climb")
    assert re.search(r"descriptors +│ +3 │ +3 │ +0 │ +2 │ +0 │ +0.000 │", shown)
    assert re.search(r"relax +│ +2 │ +0 │ .*jobs of 2 candidates", shown)
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "relax", "BaTiO3": "relax"}
    assert stopped(database) == {
        "CaTiO3": "not promoted from tier descriptors: rank 3 of 3 by tolerance_factor; 2 go on",
        "SrTiO3": None,
        "BaTiO3": None,
    }
    assert (n_jobs(database, "sqs"), n_jobs(database, "basin"), n_jobs(database, "network")) == (2, 2, 0)
    references = database["fireworks"].distinct("spec.hemiec.phase_id", {"spec.hemiec.kind": "reference"})
    assert {phase.split("-")[0] for phase in references} == {"Sr", "Ba", "Ti", "O2", "SrO", "BaO", "TiO2"}
    status = read_status(queue, "climb")
    assert [(t.candidates, t.done, t.promoted) for t in status.tiers] == [(3, 3, 2), (2, 0, 0), (0, 0, 0)]
    assert [t.waiting_for for t in status.tiers] == [None, "jobs of 2 candidates", "tier relax"]
    assert status.to_json()["tiers"][1]["waiting_for"] == "jobs of 2 candidates"

    before = database["fireworks"].count_documents({})
    assert advance(queue, "climb").added == 0
    assert submit(queue, climbing(tmp_path)).added == 0
    assert database["fireworks"].count_documents({}) == before
    assert tiers_of(database)["SrTiO3"] == "relax"


@pytest.mark.store
def test_many_callers_at_once_do_nothing_twice(
    database: Database, queue: FireWorksQueue, launchpad: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(queue, climbing(tmp_path))
    run_promotions(database, launchpad, monkeypatch, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        steps = list(pool.map(lambda _: advance(queue, "climb"), range(4)))
    added = sorted(step.added for step in steps)
    assert added[:3] == [0, 0, 0] and added[3] > 0
    assert len(database["fireworks"].distinct("spec.hemiec.uuid")) == database["fireworks"].count_documents({})
    assert n_jobs(database, "promote") == 1 and n_jobs(database, "sqs") == 2


@pytest.mark.store
@pytest.mark.parametrize("last_write", ["campaign", "workflow"])
def test_killed_between_two_writes_the_next_call_goes_on(
    database: Database,
    queue: FireWorksQueue,
    launchpad: LaunchPad,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    last_write: str,
) -> None:
    insert_many = type(launchpad.workflows).insert_many

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    def insert_workflows(collection: Any, *arguments: Any, **keywords: Any) -> Any:
        if collection.name == "fireworks":
            die()
        return insert_many(collection, *arguments, **keywords)

    campaign = climbing(tmp_path)
    for take in (lambda: submit(queue, campaign), lambda: advance(queue, "climb")):
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            if last_write == "campaign":  # nothing is on the LaunchPad yet
                killed.setattr(FireWorksQueue, "add_missing", die)
            else:  # workflows are, without their Fireworks
                killed.setattr(type(launchpad.workflows), "insert_many", insert_workflows)
            take()
        status = read_status(queue, "climb")
        assert not status.settled
        advance(queue, "climb")
        assert n_jobs(database, "promote") == 1
        run_promotions(database, launchpad, monkeypatch, tmp_path)
    advance(queue, "climb")
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "relax", "BaTiO3": "relax"}
    assert n_jobs(database, "sqs") == 2 and n_jobs(database, "basin") == 2
    nodes = {node for wf in database["workflows"].find() for node in wf["nodes"]}
    assert nodes == set(database["fireworks"].distinct("fw_id"))


@pytest.mark.store
def test_who_was_promoted_stays_promoted_and_a_budget_keeps_the_others_waiting(
    database: Database, queue: FireWorksQueue, launchpad: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(queue, climbing(tmp_path))
    run_promotions(database, launchpad, monkeypatch, tmp_path)
    advance(queue, "climb")

    ladder = [dict(tier) for tier in CLIMB["ladder"]]
    ladder[0]["promote"] = {"top": 3, "by": "tolerance_factor"}  # the other way round, and everybody
    ladder[1]["budget"] = {"candidates": 2}
    submit(queue, climbing(tmp_path, ladder=ladder))
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "relax", "BaTiO3": "relax"}
    assert run_promotions(database, launchpad, monkeypatch, tmp_path) == 1
    advance(queue, "climb")
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "relax", "BaTiO3": "relax"}
    assert stopped(database)["CaTiO3"] == "waits for tier relax: its budget of 2 candidates is used"
    assert [t.queued for t in read_status(queue, "climb").tiers] == [0, 1, 0]

    ladder[1]["budget"] = {"candidates": 3}
    submit(queue, climbing(tmp_path, ladder=ladder))
    advance(queue, "climb")
    assert set(tiers_of(database).values()) == {"relax"}
    assert n_jobs(database, "sqs") == 3

    # Another plan is another result: it is judged from the start.
    submit(queue, climbing(tmp_path, ladder=ladder, seed=1))
    assert set(tiers_of(database).values()) == {"descriptors"}
    # Without the ladder, everything is computed for all.
    plain = climbing(tmp_path, ladder=None)
    submit(queue, plain)
    assert set(plain.job_uuids) <= set(database["fireworks"].distinct("spec.hemiec.uuid"))
    assert read_status(queue, "climb").tiers == []


@pytest.mark.store
def test_an_unknown_campaign_and_one_without_a_ladder(
    database: Database, queue: FireWorksQueue, tmp_path: Path
) -> None:
    submit(queue, climbing(tmp_path, ladder=None))
    assert advance(queue, "climb").added == 0
    with pytest.raises(InputError, match="did you mean 'climb'"):
        advance(queue, "clim")


def fail(launchpad: LaunchPad, database: Database, formula_label: str, kind: str) -> int:
    """Let a job's worker die for good, as a repair marks it; return its fw_id."""
    from fireworks import FWorker

    query = {"spec.hemiec.label": formula_label, "spec.hemiec.kind": kind}
    firework, launch_id = launchpad.checkout_fw(FWorker(name=worker_name(), query=query), "/nowhere")
    launchpad.mark_fizzled(launch_id)
    return int(firework.fw_id)


class Enough(Exception):
    """Raised by a test to stop a crew."""


@pytest.mark.slow
@pytest.mark.store
@pytest.mark.mlip
def test_a_climb_to_the_top_with_a_candidate_that_fails_and_comes_back(
    settings: Settings,
    database: Database,
    queue: FireWorksQueue,
    launchpad: LaunchPad,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit(queue, climbing(tmp_path, sqs={"max_atoms": 5}))
    run_promotions(database, launchpad, monkeypatch, tmp_path)
    advance(queue, "climb")
    failed = fail(launchpad, database, "BaTiO3", "sqs")
    status = Crew(settings, queue, campaign="climb", workers=1).run(lambda _: None)

    assert status.settled and status.counts["failed"] == 1
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "barrier", "BaTiO3": "relax"}
    reason = stopped(database)["BaTiO3"] or ""
    assert reason.startswith("held at tier relax: no formation_enthalpy_from_oxides_per_atom (")
    assert "lowest basin" in reason
    assert [(t.candidates, t.done, t.failed, t.promoted) for t in status.tiers] == [
        (3, 3, 0, 2), (2, 1, 1, 1), (1, 1, 0, 0),
    ]  # fmt: skip
    assert all(t.waiting_for is None for t in status.tiers)
    assert status.tiers[0].core_hours == 0 < status.tiers[2].core_hours
    assert advance(queue, "climb").added == 0

    def until_it_is_back(status: Status) -> None:
        if tiers_of(database)["BaTiO3"] == "barrier":
            raise Enough

    launchpad.rerun_fw(failed)
    with pytest.raises(Enough):
        Crew(settings, queue, campaign="climb", workers=1).run(until_it_is_back)
    # Barium titanate is the more stable against its oxides, and the top 1 now; strontium titanate stays promoted.
    promotions = database["outputs"].find({"metadata.hemiec.step": "promote-relax"})
    assert [len(p["output"]["promoted"]) for p in promotions] == [1, 1]
    assert tiers_of(database) == {"CaTiO3": "descriptors", "SrTiO3": "barrier", "BaTiO3": "barrier"}
    assert stopped(database)["SrTiO3"] is None and stopped(database)["BaTiO3"] is None
    assert [t.promoted for t in read_status(queue, "climb").tiers] == [2, 2, 0]
    assert n_jobs(database, "network") == 2

    build(database, failures=queue.failures)
    found = list(read_candidates(database))
    documents = {doc.candidate.formula: doc for doc in found}
    assert documents["SrTiO3"].migration_barrier.value is not None
    assert documents["CaTiO3"].migration_barrier.reason == stopped(database)["CaTiO3"]
