"""Campaign files: what is refused and how it is told, names of jobs, and their decoding elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hemiec.composition.candidate import make_candidate
from hemiec.errors import CampaignError, CompositionError, InputError
from hemiec.workflows.campaign import Campaign, Climb, campaign_of, load_campaign
from hemiec.workflows.candidate import CandidateMaker
from hemiec.workflows.identity import jobs_of

FLOWS = sorted((Path(__file__).parents[1] / "flows").glob("*.yaml"))
GOOD: dict[str, Any] = {
    "name": "t",
    "space": [{"A": {"Sr": 1}, "B": {"Ti": 1}}],
    # Reference phases are jobs like others here; what is shipped is tested in test_reference_jobs.py.
    "competitors": "none",
    "shipped_references": False,
}


def write(folder: Path, content: dict[str, Any] | str) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def load(folder: Path, **changes: Any) -> Campaign:
    return load_campaign(write(folder, GOOD | changes))


def entry(**sites: Any) -> dict[str, Any]:
    """Return changes to the good campaign: another composition."""
    return {"space": [{"A": {"Sr": 1}, "B": {"Ti": 1}} | sites]}


# What is refused. Each: what changes in the good campaign, and what the message must contain.
BAD: dict[str, tuple[dict[str, Any] | str, list[str]]] = {
    "unknown element": (entry(A={"Sx": 1}), ["space[0]", "site A", "unknown element 'Sx'", "did you mean"]),
    "element in lower case": (entry(A={"sr": 1}), ["unknown element 'sr'", "did you mean 'Sr'"]),
    "a number for an element": (entry(A={38: 1}), ["space.0.A", "38"]),
    "fractions below one": (entry(A={"Sr": 0.5, "Ba": 0.4}), ["space[0]", "site A", "sum to 0.9", "expected 1"]),
    "fractions above one": (entry(B={"Ti": 0.5, "Zr": 0.6}), ["space[0]", "site B", "sum to 1.1", "expected 1"]),
    "percent": (entry(A={"Sr": 50, "Ba": 50}), ["site A", "sum to 100"]),
    "no charge balance": (entry(B={"Al": 1}), ["space[0]", "charge-balanced", "Al +3", "charge -1 e"]),
    "no oxidation state": (entry(B={"Tc": 1}), ["space[0]", "no oxidation state", "Tc", "oxidation_states: {Tc: 3}"]),
    "negative fraction": (entry(A={"Sr": -0.2, "Ba": 1.2}), ["space[0]", "site A", "Sr", "-0.2", "negative"]),
    "boolean fraction": (entry(A={"Sr": True}), ["space[0]", "site A", "Sr", "True"]),
    "word for a fraction": (entry(A={"Sr": "much"}), ["space[0]", "site A", "Sr", "much"]),
    "not a number": (entry(A={"Sr": float("nan")}), ["space[0]", "site A", "Sr", "nan"]),
    "infinite fraction": (entry(A={"Sr": float("inf")}), ["space[0]", "site A", "Sr", "inf"]),
    "list for a fraction": (entry(A={"Sr": [1]}), ["space[0]", "site A", "Sr", "[1]"]),
    "no fraction": (entry(A={"Sr": None}), ["space[0]", "site A", "Sr", "None"]),
    "empty site": (entry(A={}), ["space[0]", "site A is empty"]),
    "empty anion site": (entry(X={}), ["space[0]", "site X is empty"]),
    "list for a site": (entry(A=["Sr"]), ["space.0.A", "expected a mapping of species"]),
    "choose too many": (entry(A={"choose": 3, "from": ["Sr", "Ba"]}), ["space[0]", "site A", "choose"]),
    "choose a boolean": (entry(A={"choose": True, "from": ["Sr", "Ba"]}), ["space[0]", "site A", "choose"]),
    "choose from lists": (entry(A={"choose": 1, "from": [["Sr"], "Ba"]}), ["space[0]", "site A"]),
    "misspelt from": (entry(A={"choose": 1, "form": ["Sr"]}), ["site A", "'form'", "did you mean 'from'"]),
    "cell too small": (
        entry(A={"Sr": "1/7", "Ba": "6/7"}) | {"sqs": {"max_atoms": 30}},
        ["at most 30 atoms", "has 35 atoms", "max_atoms: 35"],
    ),
    "unknown protocol": ({"protocols": {"gap": "gpaw-fst"}}, ["protocols.gap", "did you mean 'gpaw-fast'"]),
    "unknown relaxation": ({"protocols": {"relax": "mlip-chgnt"}}, ["protocols.relax", "did you mean 'mlip-chgnet'"]),
    "wrong engine for gaps": ({"protocols": {"gap": "mlip-chgnet"}}, ["protocols.gap", "gpaw-fast"]),
    "a gap's protocol to confirm": (
        {"protocols": {"confirm": "gpaw-fast"}}, ["protocols.confirm", "gpaw-fast is for gaps", "gpaw-standard"],
    ),
    "wrong engine for barriers": ({"protocols": {"barrier": "gpaw-fast"}}, ["protocols.barrier", "mlip-chgnet"]),
    "no relax protocol": ({"protocols": {"relax": None}}, ["protocols.relax", "string"]),
    "empty protocol name": ({"protocols": {"gap": ""}}, ["protocols.gap", "unknown protocol ''"]),
    "vacancies on B": (entry(B={"Ti": "1/2", "vacancy": "1/2"}), ["space[0]", "site B", "vacancies are not allowed"]),
    "sum at a parameter": (
        entry(A={"Sr": 1, "Ba": "x"}, parameters={"x": [0, "1/8"]}), ["space[0]", "site A", "sum to 1.125 at x = 1/8"],
    ),
    "parameter nobody uses": (entry(parameters={"x": [0]}), ["space[0]", "parameter 'x' is not used"]),
    "parameters as a list": (entry(parameters=[1]), ["'space.0.parameters'"]),
    "unknown rule": ({"charge": {"solve": "oxygen"}}, ["'charge.solve'", "'B_valence' or 'delta'", "'oxygen'"]),
    "misspelt key of charge": ({"charge": {"unbalanct": "drop"}}, ["'charge.unbalanct'", "did you mean 'unbalanced'"]),
    "misspelt key of an entry's charge": (entry(charge={"sole": "delta"}), ["sole", "did you mean 'solve'"]),
    "half a valence": ({"charge": {"valence": {"Ti": 3.5}}}, ["'charge.valence.Ti'", "integer", "3.5"]),
    "word for delta": (entry(oxygen_deficiency="some"), ["space[0]", "oxygen_deficiency", "'some'"]),
    "too much delta": (entry(oxygen_deficiency=4), ["space[0]", "oxygen deficiency of 4", "has 3"]),
    "unknown descriptor": ({"constraints": ["tau < 4"]}, ["constraints[0]", "'tau'; did you mean 'bartel_tau' or"]),
    "word for constraints": ({"constraints": "bartel_tau < 4"}, ["'constraints'", "list"]),
    "unknown exclusion": ({"exclude": ["Pb", "Qq"]}, ["exclude[1]", "'Qq'"]),
    "nothing left": ({"exclude": ["Sr & Ti"]}, ["no composition is left of 1", "1 hold Sr & Ti"]),
    "misspelt key": ({"hopz": {"n": 3}}, ["'hopz'", "did you mean 'hops'"]),
    "misspelt nested key": ({"sqs": {"max_atom": 25}}, ["'sqs.max_atom'", "did you mean 'max_atoms'"]),
    "misspelt key of an entry": ({"space": [{"A": {"Sr": 1}, "BB": {"Ti": 1}}]}, ["'space.0.BB'", "did you mean 'B'"]),
    "unknown site": (entry(C={"O": 1}), ["'space.0.C'"]),
    "missing name": ("space: [{A: {Sr: 1}, B: {Ti: 1}}]", ["'name' is missing"]),
    "missing space": ("name: t", ["'space' is missing"]),
    "missing site": ({"space": [{"A": {"Sr": 1}}]}, ["'space.0.B' is missing"]),
    "empty space": ({"space": []}, ["'space'", "at least 1"]),
    "word for a space": ({"space": "everything"}, ["'space'", "list"]),
    "bad name": ({"name": "../../etc"}, ["'name'", "'../../etc'"]),
    "number for a name": ({"name": 7}, ["'name'", "string", "7"]),
    "word for a number": ({"hops": {"n": "many"}}, ["'hops.n'", "integer", "'many'"]),
    "half a hop": ({"hops": {"n": 2.5}}, ["'hops.n'", "integer", "2.5"]),
    "boolean for a number": ({"hops": {"n": True}}, ["'hops.n'", "integer", "True"]),
    "boolean for the seed": ({"seed": True}, ["'seed'", "integer", "True"]),
    "no hops": ({"hops": {"n": 0}}, ["'hops.n'", "0"]),
    "too many hops": ({"hops": {"n": 10**9}}, ["'hops.n'", "less than or equal to 100"]),
    "huge cell": ({"sqs": {"max_atoms": 10**9}}, ["'sqs.max_atoms'", "less than or equal to 1000"]),
    "tiny cell": ({"sqs": {"max_atoms": 4}}, ["'sqs.max_atoms'", "greater than or equal to 5"]),
    "huge seed": ({"seed": 10**30}, ["'seed'", "less than or equal to"]),
    "negative seed": ({"seed": -1}, ["'seed'", "greater than or equal to 0"]),
    "unknown quality": ({"sqs": {"quality": "superb"}}, ["'sqs.quality'", "'fast', 'standard' or 'best'", "'superb'"]),
    "null for a mapping": ({"sqs": None}, ["'sqs'", "None"]),
    "mobile B cation": ({"hops": {"mobile": "Ti"}}, ["hops.mobile", "'Ti'", "is on B of SrTiO3", "use one of O, Sr"]),
    "nothing mobile": ({"hops": {"mobile": "Li"}}, ["hops.mobile", "'Li'", "is not in SrTiO3", "use one of O, Sr"]),
    "one temperature twice": ({"hops": {"temperatures_K": [300, 300]}}, ["hops.temperatures_K", "different"]),
    "open 4f shell": (
        {"space": [{"A": {"Pr": 1}, "B": {"Co": 1}}], "protocols": {"gap": "gpaw-fast"}},
        ["PrCoO3", "gpaw-fast does not treat Pr", "name no DFT protocol for it (null)"],
    ),
    "unknown species with states": ({"oxidation_states": {"Tx": 3}}, ["oxidation_states", "'Tx'"]),
    "no states": ({"oxidation_states": {"Ti": []}}, ["oxidation_states", "Ti", "empty list"]),
    "half a state": ({"oxidation_states": {"Ti": 3.5}}, ["oxidation_states.Ti", "integer", "3.5"]),
    "malformed YAML": ("name: [", ["line 1", "not valid YAML"]),
    "tab in YAML": ("name: t\n\tspace: 1\n", ["line 2", "not valid YAML"]),
    "two documents": ("name: t\n---\nname: u\n", ["not valid YAML"]),
    "Python object": ("!!python/object/apply:os.system ['true']", ["not valid YAML"]),
    "binary": ("\x00\x01", ["not valid YAML"]),
    "very deep YAML": ("name: " + "[" * 3000, ["not valid YAML"]),
    "a key twice": ("name: t\nspace: [{A: {Sr: 1}, B: {Ti: 1}}]\nseed: 1\nseed: 2\n", ["seed", "twice"]),
    "a species twice": ("name: t\nspace: [{A: {Sr: 1/2, Ba: 1/2, Sr: 1/2}, B: {Ti: 1}}]\n", ["Sr", "twice"]),
    "empty file": ("", ["expected a mapping"]),
    "only a comment": ("# nothing\n", ["expected a mapping"]),
    "a list": ("- name: t\n", ["expected a mapping", "list"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_campaigns_are_told_in_one_line_with_file_and_field(tmp_path: Path, case: str) -> None:
    content, expected = BAD[case]
    path = write(tmp_path, content if isinstance(content, str) else GOOD | content)
    with pytest.raises(InputError) as caught:
        load_campaign(path)
    message = str(caught.value)
    assert isinstance(caught.value, CampaignError | CompositionError)
    assert caught.value.exit_code == 2
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    assert len(message) < 500
    for part in expected:
        assert part in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"nowhere\.yaml: no such file\. Mend: give the path"):
        load_campaign(tmp_path / "nowhere.yaml")
    with pytest.raises(CampaignError, match="cannot be read"):
        load_campaign(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Müller".encode("latin-1"))
    with pytest.raises(CampaignError, match=r"latin\.yaml: cannot be read"):
        load_campaign(latin)


def test_the_second_entry_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CompositionError, match=r"space\[1\]: site B"):
        load(tmp_path, space=[GOOD["space"][0], {"A": {"Sr": 1}, "B": {"Ti": 0.5}}])


def test_what_is_good_loads(tmp_path: Path) -> None:
    assert [c.formula for c in load(tmp_path).candidates] == ["SrTiO3"]
    halide = load(tmp_path, **entry(A={"Cs": 1}, B={"Pb": 1}, X={"I": 1}), hops={"mobile": "I"})
    assert halide.candidates[0].formula == "CsPbI3"
    lanthanide = load(tmp_path, **entry(A={"Pr": 1}, B={"Co": 1}), protocols={"gap": None})
    assert not [j for j in kinds(lanthanide) if j[0] == "gap"]


# Jobs


def kinds(campaign: Campaign) -> dict[tuple[str, str], str]:
    """Return (kind, step) to uuid of the jobs of the first candidate."""
    about = [job.metadata["hemiec"] for job in jobs_of(campaign.candidate_flows[0])]
    return {(a["kind"], a["step"]): a["uuid"] for a in about}


def test_the_jobs_of_a_candidate(tmp_path: Path) -> None:
    campaign = load(tmp_path, hops={"n": 10, "batch": 8})
    assert {step for _, step in kinds(campaign)} == {
        "sqs", "basin", "gap-unpolarised", "gap",
        "network", "sample-1", "sample-2", "transport",
    }  # fmt: skip
    assert {p.phase_id.split("-")[0] for p in campaign.phases} == {"Sr", "Ti", "O2", "SrO", "TiO2"}
    assert len(campaign.reference_flows) == 5
    assert len(set(campaign.job_uuids)) == len(campaign.job_uuids) == 8 + 5


def test_jobs_wait_for_the_jobs_they_read(tmp_path: Path) -> None:
    campaign = load(tmp_path, hops={"n": 10, "batch": 8})
    flow = campaign.candidate_flows[0]
    step = {job.uuid: job.metadata["hemiec"]["step"] for job in jobs_of(flow)}
    parents = {step[job.uuid]: {step[p] for p in parents} for job, parents in flow.iterflow()}
    assert parents == {
        "sqs": set(), "basin": {"sqs"}, "network": {"basin", "sqs"},
        "gap-unpolarised": {"basin", "sqs"}, "gap": {"gap-unpolarised"},
        "sample-1": {"network"}, "sample-2": {"network", "sample-1"},
        "transport": {"network", "sample-1", "sample-2"},
    }  # fmt: skip


def test_two_candidates_share_their_reference_phases(tmp_path: Path) -> None:
    both = load(tmp_path, space=[{"A": {"Sr": 1}, "B": {"choose": 1, "from": ["Ti", "Zr"]}}])
    assert len(both.candidates) == 2
    ids = [p.phase_id for p in both.phases]
    assert len(ids) == len(set(ids)) == 7  # Sr, Ti, Zr, O2 and three oxides
    assert set(load(tmp_path).job_uuids) < set(both.job_uuids)


def test_uuids_are_the_same_in_every_process(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD | {"space": [{"A": {"choose": 2, "from": ["Sr", "Ba", "Ca"]}, "B": {"Ti": 1}}]})
    script = (
        "import json, sys; from hemiec.workflows.campaign import load_campaign; "
        "c = load_campaign(sys.argv[1]); print(json.dumps([c.job_uuids, c.maker.plan_id(c.candidates[0])]))"
    )
    found = []
    for hash_seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found.append(json.loads(process.stdout.splitlines()[-1]))
    assert found[0] == found[1]
    assert len(found[0][0]) > 20


CELL = {"sqs", "basin"}
GAP = {"gap-start", "gap"}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"name": "other", "description": "prose is not physics"}, "all"),
        ({"protocols": {"gap": "gpaw-standard"}}, "all but gap"),
        ({"protocols": {"gap": None}}, "all"),
        ({"protocols": {"barrier": "mlip-7net-0"}}, CELL | GAP | {"network"}),
        ({"protocols": {"barrier": None}}, "all"),
        ({"protocols": {"relax": "mlip-7net-0"}}, {"sqs"}),
        ({"hops": {"n": 5}}, CELL | GAP | {"network"}),
        ({"hops": {"n": 16}}, CELL | GAP | {"network", "sample"}),  # the hops computed so far serve
        ({"hops": {"interval_eV": 0.1}}, CELL | GAP | {"network"}),
        ({"hops": {"temperatures_K": [300, 900]}}, CELL | GAP | {"network", "sample"}),
        ({"sqs": {"members": 3}}, "all"),  # one cation on each site: there is one structure
        ({"sqs": {"max_atoms": 40}}, set()),
        ({"sqs": {"quality": "fast"}}, set()),
        ({"seed": 1}, set()),
        ({"oxidation_states": {"Ti": [3, 4]}}, "all"),  # the balance is the same
    ],
    ids=str,
)
def test_uuids_change_with_what_decides_the_result_and_with_nothing_else(
    tmp_path: Path, changes: dict[str, Any], same: set[str] | str
) -> None:
    before, after = kinds(load(tmp_path)), kinds(load(tmp_path, **changes))
    expected = {k for k, _ in after} - (GAP if same == "all but gap" else set()) if isinstance(same, str) else same
    kept = {k for (k, step), uuid in after.items() if before.get((k, step)) == uuid}
    changed = {k for (k, step), uuid in after.items() if before.get((k, step)) != uuid}
    assert kept == expected
    assert not kept & changed
    assert not set(before.values()) & {uuid for key, uuid in after.items() if before.get(key) != uuid}


LADDER = [
    {"tier": "descriptors", "promote": {"top": 1, "by": "bartel_tau"}},
    {"tier": "relax", "promote": {"top": 1, "by": "formation_energy_per_atom"}},
    {"tier": "barrier", "promote": {"top": 1, "by": "migration_barrier"}},
    {"tier": "gap", "promote": {"top": 1, "by": "band_gap"}},
    {"tier": "confirm"},
]


def on(campaign: Campaign, tier: Any) -> Campaign:
    """Return the campaign with its first candidate in a tier."""
    return replace(campaign, climb=Climb(reached={campaign.candidates[0].candidate_id: tier}))


def test_a_tier_adds_jobs_and_keeps_those_of_the_tiers_below(tmp_path: Path) -> None:
    protocols = {"gap": "gpaw-fast", "confirm": "gpaw-standard"}
    plain = load(tmp_path, protocols=protocols)
    laddered = load(tmp_path, protocols=protocols, ladder=LADDER)
    assert laddered.job_uuids == on(laddered, "descriptors").job_uuids == []
    below: set[str] = set()
    for tier in ("relax", "barrier", "gap", "confirm"):
        here = on(laddered, tier)
        uuids = set(here.job_uuids)
        assert below < uuids
        flows = here.candidate_flows
        added = {job.metadata["hemiec"]["tier"] for f in flows for job in jobs_of(f) if job.uuid in uuids - below}
        assert added == {tier}
        below = uuids
    assert below == set(plain.job_uuids)


def test_a_tier_that_the_ladder_leaves_out_is_not_computed(tmp_path: Path) -> None:
    campaign = load(tmp_path, protocols={"gap": "gpaw-fast"}, ladder=[LADDER[0], {"tier": "gap"}])
    assert campaign.tiers_of(campaign.candidates[0].candidate_id) == ()
    assert {kind for kind, _ in kinds(on(campaign, "gap"))} == CELL | GAP


def test_a_campaign_comes_back_from_its_document_as_far_as_it_had_come(tmp_path: Path) -> None:
    campaign = on(load(tmp_path, ladder=[*LADDER[:1], {"tier": "relax"}]), "relax")
    stored = json.loads(json.dumps(campaign.document()))
    again = campaign_of(stored)
    assert again.job_uuids == campaign.job_uuids
    assert again.document() == stored
    # Another plan has to start again; a campaign without a ladder computes everything.
    other = load(tmp_path, ladder=[*LADDER[:1], {"tier": "relax"}], seed=1).continuing(stored)
    assert other.climb == Climb()
    assert load(tmp_path).continuing(stored).document()["candidates"][0]["tier"] is None


def test_a_protocol_file_stands_beside_the_campaign_and_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "denser.yaml").write_text(yaml.safe_dump({"name": "denser", "parent": "gpaw-fast", "cutoff_eV": 450}))
    campaign = load(tmp_path, protocols={"gap": "denser.yaml"})
    assert campaign.document()["spec"]["protocols"]["gap"] == {
        "name": "denser", "parent": "gpaw-fast", "cutoff_eV": 450,
    }  # fmt: skip
    assert campaign.job_uuids == campaign_of(campaign.document()).job_uuids
    with pytest.raises(CampaignError, match=r"absent\.yaml: no such file"):
        load(tmp_path, protocols={"gap": "absent.yaml"})


def plan_of(campaign: Campaign) -> str:
    return campaign.maker.plan_id(campaign.candidates[0])


def test_plans_change_with_charges() -> None:
    """The same sites with other oxidation states start from another cell and refer to other oxides."""
    sites = {"A": {"La": 1}, "B": {"Fe": "1/2", "Mn": "1/2"}}
    maker = CandidateMaker()
    plans = set()
    uuids = set()
    for states in ({"La": (3,), "Fe": (2,), "Mn": (4,), "O": (-2,)}, {"La": (3,), "Fe": (3,), "Mn": (3,), "O": (-2,)}):
        candidate = make_candidate(sites, states)
        plans.add(maker.plan_id(candidate))
        uuids.add(next(jobs_of(maker.make(candidate))).uuid)
    assert len(plans) == len(uuids) == 2


def test_plans_change_with_protocols(tmp_path: Path) -> None:
    plans = {
        plan_of(load(tmp_path, **c))
        for c in ({}, {"protocols": {"gap": None}}, {"seed": 1}, {"hops": {"n": 4}}, {"sqs": {"max_atoms": 40}})
    }
    assert len(plans) == 5
    assert plan_of(load(tmp_path, name="renamed", description="x")) in plans


# Decoding elsewhere

DECODE = """
import json, sys
from fireworks import Workflow
from jobflow import Job
from monty.json import MontyDecoder

names = []
for entry in json.load(sys.stdin):
    for fw in Workflow.from_dict(entry).fws:
        (task,) = fw.spec["_tasks"]
        job = task["job"]
        job = job if isinstance(job, Job) else MontyDecoder().process_decoded(job)
        assert isinstance(job, Job), type(job)
        function = getattr(job.function, "__func__", job.function)
        assert sys.modules[function.__module__] is not sys.modules["__main__"]
        assert callable(job.function)
        names.append([job.uuid, function.__module__, type(job.function.__self__).__module__])
print(json.dumps(names))
"""


def at_the_top(campaign: Campaign) -> Campaign:
    """Return the campaign with all candidates in the last tier of its ladder, if it has one."""
    if campaign.spec.ladder is None:
        return campaign
    last = campaign.spec.ladder[-1].tier
    return replace(campaign, climb=Climb(reached={c.candidate_id: last for c in campaign.candidates}))


@pytest.mark.slow
@pytest.mark.parametrize("flow_file", FLOWS, ids=lambda p: p.name)
def test_launches_every_file_in_flows_up_to_decoding_its_jobs_in_a_clean_interpreter_started_elsewhere(
    flow_file: Path, tmp_path: Path
) -> None:
    from fireworks.utilities.fw_serializers import recursive_dict
    from jobflow.managers.fireworks import flow_to_workflow

    campaign = at_the_top(load_campaign(flow_file))
    # What MongoDB would hold, as JSON.
    stored = json.dumps([recursive_dict(flow_to_workflow(flow).to_dict()) for flow in campaign.flows], default=str)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-c", DECODE],
        input=stored, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    decoded = json.loads(process.stdout.splitlines()[-1])
    assert decoded and {uuid for uuid, *_ in decoded} == set(campaign.job_uuids)
    for _, *modules in decoded:
        for module in modules:
            assert module.startswith(("hemiec.", "atomate2."))


def test_there_are_flows() -> None:
    assert FLOWS, "flows/ holds the recipes that the test above launches"


def test_hops_depend_on_how_their_vacancies_were_relaxed(tmp_path: Path) -> None:
    def hops(barrier: Any) -> set[str]:
        flows = load(tmp_path, protocols={"barrier": barrier, "gap": None}).candidate_flows
        return {j.uuid for flow in flows for j in jobs_of(flow) if j.metadata["hemiec"]["kind"] == "sample"}

    loose = {"parent": "mlip-chgnet", "name": "loose", "saddle": {"fmax_eV_per_A": 0.2}}
    assert hops("mlip-chgnet") and not hops("mlip-chgnet") & hops(loose)
