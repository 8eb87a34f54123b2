"""Jobs named by content, also those of an engine's flow, and the lowest of several magnetic solutions."""

from __future__ import annotations

from typing import Any

import pytest
from jobflow import Flow, Maker, job, run_locally
from pymatgen.core import Lattice, Structure

from hemiec.engines.protocol import load_dft
from hemiec.errors import NotConvergedError
from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure
from hemiec.workflows.identity import identify
from hemiec.workflows.solutions import LowestSolutionMaker, lowest_solution, solution_jobs

STRUCTURE = Structure(Lattice.cubic(4), ["Fe"], [[0, 0, 0]])


def calculation(energy: float, gap: float, start: str) -> CalculationDoc:
    electronic = ElectronicStructure(
        band_gap=gap,
        direct_gap=gap or None,
        is_metal=gap == 0,
        valence_band_maximum=None,
        conduction_band_minimum=None,
        fermi_level=0.0,
        total_moment=4.0,
        site_moments=[4.0],
        oxygen_2p_center=None,
        dos_at_fermi_level=None,
        kpoint_mesh=[1, 1, 1],
        smearing_eV=0.1,
        spin_polarised=True,
    )
    return CalculationDoc(
        kind="gap",
        structure=STRUCTURE.as_dict(),
        n_atoms=1,
        energy=energy,
        energy_per_atom=energy,
        forces=None,
        max_force=None,
        stress=None,
        converged=True,
        electronic=electronic,
        magnetic_start=start,
        n_force_calls=1,
        elapsed_s=1.0,
        protocol="gpaw-fast",
        protocol_hash="0",
        versions={},
    )


def test_the_lowest_solution_is_kept_and_all_are_recorded() -> None:
    found = [calculation(-1.0, 0.5, "ferromagnetic"), None, calculation(-1.5, 1.1, "low-spin")]
    doc = lowest_solution(["ferromagnetic", "antiferromagnetic-G", "low-spin"], ["a", "b", "c"], found)
    assert doc.band_gap == 1.1 and doc.lowest.magnetic_start == "low-spin"
    assert [start.job_uuid for start in doc.starts] == ["c", "a", "b"]
    assert doc.starts[2].energy is None and doc.starts[2].reason == "failed"
    assert doc.spread == pytest.approx(0.6 / 2**0.5)


def test_one_solution_has_no_spread_and_none_is_an_error() -> None:
    assert lowest_solution(["ferromagnetic"], ["a"], [calculation(-1.0, 0.5, "ferromagnetic")]).spread is None
    with pytest.raises(NotConvergedError, match="none of the magnetic starts"):
        lowest_solution(["ferromagnetic"], ["a"], [None])


def test_a_stored_calculation_is_read_back_as_references_bring_it() -> None:
    stored = calculation(-1.0, 0.5, "ferromagnetic").to_mongo() | {"structure": STRUCTURE}
    made = LowestSolutionMaker().make.original(LowestSolutionMaker(), ["ferromagnetic"], ["a"], [stored])
    assert made["lowest"]["structure"]["@class"] == "Structure"


def test_each_start_is_a_job_and_the_collector_runs_despite_failures() -> None:
    protocol = load_dft("gpaw-standard")
    species = ["La", "Fe", "Fe", "O", "O", "O"]
    calculations, lowest = solution_jobs("gap", protocol, species, STRUCTURE, {"basin": "b"}, priority=1, metadata={})
    steps = [c.metadata["hemiec"]["step"] for c in calculations]
    assert "gap-ferromagnetic" in steps and len(steps) > 1 and lowest.metadata["hemiec"]["step"] == "gap"
    assert lowest.config.on_missing_references.value == "none"
    assert set(lowest.input_uuids) == {c.uuid for c in calculations}
    again, same = solution_jobs("gap", protocol, species, STRUCTURE, {"basin": "b"}, priority=1, metadata={"x": 1})
    assert same.uuid == lowest.uuid and [c.uuid for c in again] == [c.uuid for c in calculations]
    others, other = solution_jobs("static", protocol, species, STRUCTURE, {"basin": "b"}, priority=1, metadata={})
    assert not {c.uuid for c in others} & {c.uuid for c in calculations} and other.uuid != lowest.uuid


def test_a_cell_without_magnetic_elements_is_computed_once() -> None:
    calculations, _ = solution_jobs(
        "gap", load_dft("gpaw-standard"), ["Sr", "Ti", "O"], STRUCTURE, {"basin": "b"}, priority=1, metadata={}
    )
    assert [c.metadata["hemiec"]["step"] for c in calculations] == ["gap-unpolarised"]


@job
def add(a: float, b: float) -> dict[str, Any]:
    return {"sum": a + b}


@job
def total(content: dict[str, list[float]]) -> dict[str, Any]:
    return {"sum": sum(content["terms"])}


class AddTwice(Maker):
    name = "add twice"

    def make(self, a: float) -> Flow:
        first = add(a, 1)
        second = total({"terms": [first.output["sum"], first.output["sum"]]})
        return Flow([first, second], output=second.output)


@pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning")  # monty's, which jobflow calls
def test_an_engines_flow_is_named_like_a_job() -> None:
    flows = [identify(AddTwice().make(2), "static", {"n": 2}, step="static") for _ in range(2)]
    assert [j.uuid for j in flows[0].jobs] == [j.uuid for j in flows[1].jobs]
    assert len({j.uuid for j in flows[0].jobs}) == 2
    assert flows[0].output.uuid == flows[0].jobs[1].uuid
    assert flows[0].jobs[1].metadata["hemiec"]["step"] == "static"
    assert flows[0].jobs[0].metadata["hemiec"]["kind"] == "static-part"
    after = add(flows[0].output["sum"], 0)
    results = run_locally(Flow([flows[0], after]), log=False)
    assert results[after.uuid][1].output == {"sum": 6}
