"""The jobs of ion transport, run without a launcher: networks, samples that go on after a kill, and the summary."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from crystals import perovskite
from pymatgen.core import Structure

import hemiec.workflows.transport as jobs
from hemiec.composition.block import ChargeRule
from hemiec.composition.candidate import make_candidate
from hemiec.errors import NotConvergedError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.transport import HopNetworkDoc, SampleDoc, TransportSummary
from hemiec.structures.sqs import make_sqs
from hemiec.transport.energies import HopCalculation
from hemiec.transport.hops import hop_environments, perovskite_network
from hemiec.transport.survey import network_doc
from hemiec.workflows.transport import RECORDS_FILE, NetworkMaker, SampleMaker, TransportMaker, mobile_sites

AIM = {
    "interval_eV": 0.01, "reference_temperature_K": 1000.0, "seed": 0,
    "oxidation_states": {"Sr": 2, "Ba": 2, "Ti": 4, "O": -2},
}  # fmt: skip


def call(maker: Any, *arguments: Any) -> dict[str, Any]:
    """Run a maker's job here and now."""
    found: dict[str, Any] = maker.make.original(maker, *arguments)
    return found


@pytest.fixture
def in_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Enter a fresh folder as the job of that uuid."""

    def enter(uuid: str, folder: str | None = None) -> None:
        where = tmp_path / (folder or uuid)
        where.mkdir(exist_ok=True)
        monkeypatch.chdir(where)
        monkeypatch.setattr(jobs, "CURRENT_JOB", SimpleNamespace(job=SimpleNamespace(uuid=uuid)))

    return enter


@pytest.fixture
def spring_model(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the search by one whose energies follow from positions, and count which hops it computes."""
    computed: list[int] = []

    def searched(self: HopCalculation, hop: int) -> Any:
        from hemiec.transport.energies import HopRecord

        computed.append(hop)
        network = self.network
        start, end = (self.site(int(n[hop])) for n in (network.start, network.end))
        assert start.energy is not None and end.energy is not None and start.structure is not None
        about: dict[str, Any] = {
            "hop": hop, "searched_from": [start.energy, end.energy],
            "attempts": [], "n_force_calls": 9, "elapsed_s": 0.1,
            "seconds_in_calls": 0.1,
        }  # fmt: skip
        if hop % 7 == 3:
            nothing = dict.fromkeys(("saddle_energy", "start_energy", "end_energy", "max_force", "curvature"))
            return HopRecord(
                **about, **nothing, energies=[], reaction_coordinate=[], images=[], method="", reason="no saddle"
            )
        saddle = max(start.energy, end.energy) + 0.5 + 0.02 * (hop % 5)
        return HopRecord(
            **about,
            saddle_energy=saddle,
            start_energy=start.energy,
            end_energy=end.energy,
            energies=[0.0, saddle - start.energy, end.energy - start.energy],
            reaction_coordinate=[0, 1.4, 2.8],
            images=[start.structure] * 3,
            max_force=0.01,
            curvature=-1.0,
            method="synthetic",
        )

    def relaxed(self: HopCalculation, site: int) -> Any:
        from hemiec.transport.energies import SiteRecord

        ion = self._ion(site)
        structure = Structure.from_sites([s for n, s in enumerate(self.host) if n != ion])
        energy = -50 + 0.03 * np.sin(site)
        return SiteRecord(site, float(energy), structure, 0.01, "relaxed in place", 5, 0.1, 0.1)

    monkeypatch.setattr(HopCalculation, "_searched", searched)
    monkeypatch.setattr(HopCalculation, "_relaxed", relaxed)
    monkeypatch.setattr(jobs, "hop_calculator", lambda protocol: EMT())
    return computed


@pytest.fixture(scope="module")
def network() -> dict[str, Any]:
    host = perovskite(2 * np.eye(3), ("Sr", "Ba"))
    found = perovskite_network(host)
    doc = network_doc(found, hop_environments(host, found))
    return HopNetworkDoc(mobile="O", host=host.as_dict(), network=doc, versions={}).to_mongo()


def test_a_network_job_takes_what_references_bring() -> None:
    """jobflow turns stored structures into objects before the job sees them."""
    states = {"Li": (1,), "La": (3,), "Ti": (4,), "O": (-2,)}
    sites = {"A": {"Li": "3/8", "La": "1/2", "vacancy": "1/8"}, "B": {"Ti": 1}}
    candidate = make_candidate(sites, states, rule=ChargeRule(unbalanced="keep"))
    doc = make_sqs(candidate, SqsSettings(max_atoms=40, quality="fast")).members[0]
    raw = doc.to_mongo()
    brought = raw | {key: Structure.from_dict(raw[key]) for key in ("structure", "ideal_structure")}
    found = HopNetworkDoc.model_validate(call(NetworkMaker(mobile="Li"), Structure.from_dict(doc.structure), brought))
    assert found.mobile == "Li"
    assert sorted(found.network.atom_index)[0] == -1
    assert len(found.network.atom_index) == 4 == round(8 * mobile_sites(candidate, "Li"))


def test_samples_build_on_one_another(
    network: dict[str, Any], in_job: Callable[[str], None], spring_model: list[int]
) -> None:
    samples: list[dict[str, Any]] = []
    for k in range(3):
        in_job(f"sample-{k}")
        samples.append(call(SampleMaker(settings={"n": 8, **AIM}), network, samples))
    docs = [SampleDoc.model_validate(sample) for sample in samples]
    hops = [h.hop for doc in docs for h in (*doc.hops, *doc.failed_hops)]
    assert len(hops) == len(set(hops)) == 24 == len(spring_model)
    sites = [site.site for doc in docs for site in doc.sites]
    assert len(sites) == len(set(sites)), "a site is relaxed once and told once"
    assert all(h.hop % 7 == 3 and h.reason == "no saddle" for doc in docs for h in doc.failed_hops)
    for doc in docs:
        for hop in doc.hops:
            assert hop.forward_barrier - hop.reverse_barrier == pytest.approx(hop.final_energy - hop.initial_energy)
    candidate = make_candidate(
        {"A": {"Sr": "1/2", "Ba": "1/2"}, "B": {"Ti": 1}}, {"Sr": (2,), "Ba": (2,), "Ti": (4,), "O": (-2,)}
    )
    settings = {**AIM, "temperatures_K": [800.0, 1000.0], "carriers": 0.1}
    found = call(TransportMaker(settings=settings), candidate.to_mongo(), [network], [[*samples, None]])
    summary = TransportSummary.model_validate(found)
    assert summary.n_computed == sum(len(doc.hops) for doc in docs)
    assert summary.n_failed == sum(len(doc.failed_hops) for doc in docs)
    assert summary.n_force_calls == 9 * 24 + 5 * len(sites)
    assert summary.log10_conductivity is not None and summary.carriers_source.startswith("`hops.carriers`")
    assert summary.stopped == "as many hops as the campaign allows were tried"


def test_a_killed_sample_goes_on_with_the_hops_it_has(
    network: dict[str, Any],
    in_job: Callable[..., None],
    spring_model: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    class Killed(BaseException):
        pass

    keep = jobs._Records.keep

    def killed_after_three(self: Any, calculation: Any) -> None:
        keep(self, calculation)
        if len(self.hops) == 3:
            raise Killed

    in_job("sample", "launch-1")
    monkeypatch.setattr(jobs._Records, "keep", killed_after_three)
    with pytest.raises(Killed):
        call(SampleMaker(settings={"n": 6, **AIM}), network, [])
    monkeypatch.setattr(jobs._Records, "keep", keep)
    before = list(spring_model)
    assert len(before) == 3
    # FireWorks starts it again in another folder, and says there where it ran.
    in_job("sample", "launch-2")
    archived = [{"launch_id": 1, "launch_dir": str(tmp_path / "launch-1"), "action": None}]
    Path("FW.json").write_text(json.dumps({"archived_launches": archived}))
    found = SampleDoc.model_validate(call(SampleMaker(settings={"n": 6, **AIM}), network, []))
    assert spring_model[:3] == before and len(spring_model) == len(set(spring_model)) == 6
    assert len(found.hops) + len(found.failed_hops) == 6
    # Records of another job, or cut short by a full disk, are not taken over.
    for content in ((tmp_path / "launch-1" / RECORDS_FILE).read_text(), '{"job": "oth'):
        spring_model.clear()
        in_job("other", f"launch-{len(content)}")
        Path(RECORDS_FILE).write_text(content)
        call(SampleMaker(settings={"n": 6, **AIM}), network, [])
        assert len(spring_model) == 6


def test_enough_is_enough(network: dict[str, Any], in_job: Callable[[str], None], spring_model: list[int]) -> None:
    easy = {**AIM, "interval_eV": 1.0}
    in_job("one")
    first = call(SampleMaker(settings={"n": 4, **easy}), network, [])
    in_job("two")
    second = SampleDoc.model_validate(call(SampleMaker(settings={"n": 4, **easy}), network, [first]))
    assert len(spring_model) == 4
    assert not second.hops and not second.sites
    assert "the effective barrier is known to" in (second.stopped or "")


def test_without_any_saddle_there_is_an_error(
    network: dict[str, Any], in_job: Callable[[str], None], spring_model: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.Survey, "choose", lambda self, n: [3, 10])
    in_job("one")
    with pytest.raises(NotConvergedError, match="no saddle was found for any of 2 hops; the first: no saddle"):
        call(SampleMaker(settings={"n": 2, **AIM}), network, [])
    with pytest.raises(NotConvergedError, match="no job has computed hops"):
        candidate = make_candidate({"A": {"Sr": 1}, "B": {"Ti": 1}}, {"Sr": (2,), "Ti": (4,), "O": (-2,)})
        settings = {**AIM, "temperatures_K": [800.0], "carriers": None}
        call(TransportMaker(settings=settings), candidate.to_mongo(), [network], [[None]])


def test_carriers_are_those_of_the_composition_unless_given(candidate: Callable[..., CandidateSpec]) -> None:
    deficient = make_candidate(
        {"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": 1}, "X": {"O": "11/12", "vacancy": "1/12"}},
        {"La": (3,), "Sr": (2,), "Co": (2, 3, 4), "O": (-2,)},
    )
    found = jobs._carriers(deficient, "O", None)
    assert found.per_formula_unit == pytest.approx(0.25)
    assert found.sites_per_formula_unit == pytest.approx(3)
    assert found.charge == -2
    assert jobs._carriers(deficient, "O", 0.01).per_formula_unit == 0.01
    full = jobs._carriers(candidate({"Sr": 1}, {"Ti": 1}), "O", None)
    assert full.per_formula_unit is None and "how many form is not computed" in full.source
