"""The pymatgen transformation and the jobflow jobs: calling form, species, vacancies, ranked lists, round trips."""

from __future__ import annotations

import inspect
import itertools
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Species, Structure
from pymatgen.transformations.advanced_transformations import SQSTransformation

from hemiec.errors import InputError
from hemiec.structures.order import rms, warren_cowley
from hemiec.structures.transformation import SqsTransformation

CUBIC = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]


def perovskite(A: Any = "Sr", B: Any = "Ti", X: Any = "O", a: float = 3.9) -> Structure:
    return Structure(Lattice.cubic(a), [A, B, X, X, X], CUBIC)


def rock_salt(cation: Any, anion: Any = "O", a: float = 4.2) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [(0, 0, 0), (0.5, 0.5, 0.5)])


def sqs(structure: Structure, scaling: Any, **options: Any) -> Structure:
    made = SqsTransformation(scaling, **({"quality": "fast"} | options)).apply_transformation(structure)
    assert isinstance(made, Structure)
    return made


def only(structure: Structure, *symbols: str) -> Structure:
    return Structure.from_sites([s for s in structure if s.specie.symbol in symbols])


# Calling form


def test_it_is_called_as_pymatgens() -> None:
    theirs = inspect.signature(SQSTransformation).parameters
    mine = inspect.signature(SqsTransformation).parameters
    assert list(mine)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert mine[name].kind == parameter.kind
        if name != "sqs_method":  # chooses mcsqs or icet there; neither is used here
            assert mine[name].default == parameter.default, name
    assert all(p.default is not inspect.Parameter.empty for name, p in mine.items() if name not in theirs)
    apply = inspect.signature(SqsTransformation.apply_transformation).parameters
    assert list(apply) == list(inspect.signature(SQSTransformation.apply_transformation).parameters)
    assert SqsTransformation(4).is_one_to_many


def test_every_argument_of_pymatgens_is_accepted_by_position() -> None:
    arguments = (2, {2: 3, 3: 2}, 1, None, 1, 1, 1, 1, 0.5, 1e-3, None, True, True, "LLL", "mcsqs")
    SQSTransformation(*arguments)
    made = SqsTransformation(*arguments, quality="fast").apply_transformation(perovskite({"Sr": 0.5, "Ba": 0.5}))
    assert made.composition == Composition("SrBaTi2O6")


def test_it_comes_back_from_its_dictionary() -> None:
    one = SqsTransformation([2, 2, 1], {2: 3, 3: 1}, instances=3, best_only=False, quality="fast", seed=9)
    stored = json.loads(json.dumps(one.as_dict(), cls=MontyEncoder))
    for other in (SqsTransformation.from_dict(one.as_dict()), MontyDecoder().process_decoded(stored)):
        assert isinstance(other, SqsTransformation)
        structure = perovskite({"Sr": 0.5, "Ba": 0.5})
        assert other.apply_transformation(structure) == one.apply_transformation(structure)
        assert (other.seed, other.instances, other.quality) == (9, 3, "fast")


def test_it_works_within_a_transformed_structure() -> None:
    from pymatgen.alchemy.materials import TransformedStructure

    history = TransformedStructure(perovskite({"Sr": 0.5, "Ba": 0.5}))
    history.append_transformation(SqsTransformation(4, quality="fast"))
    assert history.final_structure.composition == Composition("Sr2Ba2Ti4O12")


# Physics


def test_it_reaches_the_error_of_the_best_known_pattern() -> None:
    structure = perovskite(dict.fromkeys(("La", "Pr", "Nd", "Sr", "Ba"), 0.2), "Co")
    transformation = SqsTransformation(10, quality="standard", instances=1)
    (entry,) = transformation.apply_transformation(structure, return_ranked_list=1)
    on_A = only(entry["structure"], "La", "Pr", "Nd", "Sr", "Ba")
    assert rms(warren_cowley(on_A)) == pytest.approx(entry["objective_function"])
    assert entry["objective_function"] <= 0.3579  # the compact cell's; the best shape has 0.315


def test_a_perfect_match_of_four_shells_is_found_and_icet_confirms_it() -> None:
    """Simple cubic, 16 sites, 50:50: all four shells vanish; Q is then minus half the fourth distance, 2 a / 2."""
    transformation = SqsTransformation(16, {2: 4}, instances=1, quality="fast")
    simple = Structure(Lattice.cubic(3.9), [{"Au": 0.5, "Pd": 0.5}], [(0, 0, 0)])
    (entry,) = transformation.apply_transformation(simple, return_ranked_list=1)
    assert entry["objective_function"] == pytest.approx(0, abs=1e-9)
    assert entry["icet_l1"] == pytest.approx(0, abs=1e-9)
    assert entry["icet_objective"] == pytest.approx(-3.9, abs=1e-6)


def test_two_mixed_sublattices_and_a_species_on_both() -> None:
    made = sqs(perovskite({"La": 0.5, "Fe": 0.5}, {"Fe": 0.25, "Co": 0.75}), 8, reduction_algo=False)
    assert made.composition == Composition("La4Fe6Co6O24")
    # Which Fe is where follows from its neighbours: A has twelve X at a/sqrt(2), B has six at a/2.
    near = [len([n for n in made.get_neighbors(site, 0.51 * 3.9) if n.specie.symbol == "O"]) for site in made]
    iron = Counter(n for n, site in zip(near, made, strict=True) if site.specie.symbol == "Fe")
    assert iron == {0: 4, 6: 2}


def test_oxidation_states_are_kept() -> None:
    a = {Species("La", 3): 0.5, Species("Sr", 2): 0.5}
    b = {Species("Mn", 3): 0.5, Species("Mn", 4): 0.5}
    made = sqs(perovskite(a, b, Species("O", -2)), 4)
    assert Counter(str(site.specie) for site in made) == {
        "La3+": 2, "Sr2+": 2, "Mn3+": 2, "Mn4+": 2, "O2-": 12
    }  # fmt: skip
    assert made.charge == 0


def test_occupancies_below_one_leave_empty_sites() -> None:
    made = sqs(perovskite("Sr", "Fe", {"O": 11 / 12}), 4)
    assert made.composition == Composition("Sr4Fe4O11")
    made = sqs(perovskite({"Li": 0.25, "Sr": 0.5}, {"Ta": 0.75, "Zr": 0.25}), 4)
    assert made.composition == Composition("LiSr2Ta3ZrO12")
    distances = made.distance_matrix[np.triu_indices(len(made), 1)]
    assert distances.min() == pytest.approx(3.9 / 2)


@pytest.mark.parametrize("algorithm", ["niggli", "LLL", False])
def test_the_cell_is_a_supercell_of_the_input(algorithm: Any) -> None:
    structure = perovskite({"Sr": 0.5, "Ba": 0.5})
    made = sqs(structure, 6, reduction_algo=algorithm)
    assert made.volume == pytest.approx(6 * structure.volume)
    plain = made.copy()
    plain.replace_species({"Ba": "Sr"})
    assert plain.get_primitive_structure().volume == pytest.approx(structure.volume)
    assert plain.get_space_group_info()[1] == 221


def test_repetitions_give_exactly_that_cell() -> None:
    made = sqs(perovskite({"Sr": 0.5, "Ba": 0.5}), [2, 2, 3], reduction_algo=False)
    assert made.lattice.abc == pytest.approx((7.8, 7.8, 11.7))
    assert made.lattice.angles == pytest.approx((90, 90, 90))


def test_a_conventional_cell_with_centring_works() -> None:
    made = sqs(rock_salt({"Mg": 0.5, "Ni": 0.5}), 2)
    assert made.composition == Composition("Mg4Ni4O8")


@pytest.mark.parametrize("a", [3.9, 3.9005, 3.9015, 3.90125, 4.0005, 5.4305])
def test_any_lattice_parameter_works(a: float) -> None:
    """Shell distances are matched between hemiec and icet, whose last bits differ."""
    assert sqs(perovskite({"Sr": 0.5, "Ba": 0.5}, a=a), 4).composition == Composition("Sr2Ba2Ti4O12")
    assert sqs(perovskite({"Sr": 0.5, "Ba": 0.5}, {"Ti": 0.5, "Zr": 0.5}, a=a), 2).num_sites == 10


@pytest.mark.parametrize("noise", [1e-6, 1e-5, 1e-4])
def test_a_relaxed_lattice_works(noise: float) -> None:
    """Lattice parameters of a calculation are equal to a few digits only."""
    lattice = Lattice.from_parameters(3.9 + noise, 3.9 - noise, 3.9, 90, 90, 90)
    structure = Structure(lattice, [{"Sr": 0.5, "Ba": 0.5}, "Ti", "O", "O", "O"], CUBIC)
    assert sqs(structure, 4).composition == Composition("Sr2Ba2Ti4O12")


@pytest.mark.parametrize("clusters", [{2: 1}, {2: 2, 3: 1}, {2: 3, 3: 2, 4: 1}, {3: 1}, {2: 6}])
def test_any_choice_of_clusters_works(clusters: dict[int, int]) -> None:
    made = sqs(perovskite({"Sr": 0.5, "Ba": 0.5}, {"Ti": 0.5, "Zr": 0.5}), 4, cluster_size_and_shell=clusters)
    assert made.composition == Composition("Sr2Ba2Ti2Zr2O12")


@pytest.mark.parametrize("clusters", [None, {2: 1}])
def test_sublattices_farther_apart_than_their_own_shells(clusters: dict[int, int] | None) -> None:
    """Between layers the first neighbour is farther than the first within them."""
    lattice = Lattice.tetragonal(3.0, 9.0)
    structure = Structure(lattice, [{"Mg": 0.5, "Ca": 0.5}, {"S": 0.5, "Se": 0.5}], [(0, 0, 0), (0.5, 0.5, 0.5)])
    made = sqs(structure, 4, cluster_size_and_shell=clusters)
    assert made.composition == Composition("Mg2Ca2S2Se2")


def test_a_lattice_of_low_symmetry() -> None:
    """In a triclinic cell no operation swaps the ends of a pair between two sites of a sublattice but inversion."""
    lattice = Lattice.from_parameters(4.1, 4.7, 5.9, 82, 97, 104)
    structure = Structure(
        lattice, [{"Mg": 0.5, "Ca": 0.25, "Zn": 0.25}] * 2 + ["O"] * 2,
        [(0.1, 0.2, 0.3), (0.9, 0.8, 0.7), (0.35, 0.6, 0.85), (0.65, 0.4, 0.15)],
    )  # fmt: skip
    made = sqs(structure, 4)
    assert made.composition == Composition("Mg4Ca2Zn2O8")


def test_a_polar_lattice_without_inversion() -> None:
    """Wurtzite: pairs between the two cation sites of a cell are directed for icet."""
    structure = Structure.from_spacegroup(
        "P6_3mc", Lattice.hexagonal(3.25, 5.2), [{"Mg": 0.25, "Zn": 0.5, "Cd": 0.25}, "O"],
        [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.382)],
    )  # fmt: skip
    for clusters in (None, {2: 8}):
        assert sqs(structure, 4, cluster_size_and_shell=clusters).composition == Composition("Mg2Zn4Cd2O8")


# Ranked lists


@pytest.fixture(scope="module")
def ranked() -> list[dict[str, Any]]:
    structure = perovskite(dict.fromkeys(("La", "Sr", "Ba"), 1 / 3))
    transformation = SqsTransformation(9, instances=6, best_only=False, quality="fast", seed=2)
    return transformation.apply_transformation(structure, return_ranked_list=5)


def test_a_ranked_list_is_ranked_and_scored(ranked: list[dict[str, Any]]) -> None:
    assert len(ranked) == 5
    errors = [entry["objective_function"] for entry in ranked]
    assert errors == sorted(errors)
    for entry in ranked:
        assert set(entry) >= {"structure", "objective_function", "icet_l1", "icet_objective"}
        assert rms(warren_cowley(only(entry["structure"], "La", "Sr", "Ba"))) == pytest.approx(
            entry["objective_function"]
        )


def test_a_ranked_list_has_no_duplicates(ranked: list[dict[str, Any]]) -> None:
    matcher = StructureMatcher(scale=False)
    for one, other in itertools.combinations(ranked, 2):
        assert not matcher.fit(one["structure"], other["structure"])


def test_how_many_come_back() -> None:
    structure = perovskite(dict.fromkeys(("La", "Sr", "Ba"), 1 / 3))
    options: dict[str, Any] = {"quality": "fast", "seed": 2}
    single = SqsTransformation(9, **options).apply_transformation(structure)
    best = SqsTransformation(9, instances=6, **options).apply_transformation(structure, return_ranked_list=True)
    assert isinstance(single, Structure)
    assert 1 <= len(best) <= 6
    assert len({round(entry["objective_function"], 9) for entry in best}) == 1
    whole = SqsTransformation(9, instances=6, best_only=False, **options)
    assert len(whole.apply_transformation(structure, return_ranked_list=True)) == 6
    assert len(whole.apply_transformation(structure, return_ranked_list=2)) == 2


def test_the_seed_decides(ranked: list[dict[str, Any]]) -> None:
    structure = perovskite(dict.fromkeys(("La", "Sr", "Ba"), 1 / 3))
    again = SqsTransformation(9, instances=6, best_only=False, quality="fast", seed=2).apply_transformation(
        structure, 5
    )
    assert [e["structure"] for e in again] == [e["structure"] for e in ranked]


# Errors


@pytest.mark.parametrize(
    ("structure", "scaling", "options", "wanted", "message"),
    [
        (perovskite(), 4, {}, False, "every site is ordered"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 3, {}, False, "cannot hold these fractions"),
        (perovskite({"Sr": 0.99, "Ba": 0.01}), 4, {}, False, "cannot hold these fractions"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 0, {}, False, "expected a positive number"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), [2, 2], {}, False, "three repetitions"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), [2, 2, 0], {}, False, "three repetitions"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 4, {}, 2, "needs `instances`"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 4, {}, True, "needs `instances`"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 4, {"instances": 2}, 3, "exceeds instances"),
        (perovskite({"Sr": 0.5, "Ba": 0.5}), 4, {"quality": "fsat"}, False, "did you mean 'fast'"),
    ],
)
def test_what_cannot_be_done_says_why(
    structure: Structure, scaling: Any, options: dict[str, Any], wanted: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        SqsTransformation(scaling, **({"quality": "fast"} | options)).apply_transformation(structure, wanted)


# jobflow


def run(job: Any) -> Any:
    """Run a job that went through JSON, on a store in memory, and return its output."""
    from jobflow import Flow, JobStore, run_locally
    from maggma.stores import MemoryStore

    flow = MontyDecoder().process_decoded(json.loads(json.dumps(Flow([job], output=job.output), cls=MontyEncoder)))
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    run_locally(flow, store=store, ensure_success=True, log=False)
    return store.get_output(job.uuid, load=True)


# jobflow 0.4 changes folder with a helper that monty deprecates.
monty_cd = pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning")


@monty_cd
def test_the_job_of_a_disordered_structure() -> None:
    from hemiec.workflows.sqs import DisorderedSqsMaker

    job = DisorderedSqsMaker(scaling=6, n=3, quality="fast", seed=4).make(perovskite({"La": 0.5, "Sr": 0.5}))
    output = run(job)
    structures = [s if isinstance(s, Structure) else Structure.from_dict(s) for s in output["structures"]]
    assert len(structures) == len(output["objective_functions"]) == len(output["icet_l1"]) == 3
    assert {s.composition for s in structures} == {Composition("La3Sr3Ti6O18")}
    best = output["structure"]
    assert (best if isinstance(best, Structure) else Structure.from_dict(best)) == structures[0]
    assert output["objective_functions"] == sorted(output["objective_functions"])


@monty_cd
def test_the_job_of_a_candidate(data_dir: Any, candidate: Any) -> None:
    from hemiec.schemas.campaign import SqsSettings
    from hemiec.schemas.documents import SqsDoc
    from hemiec.structures.sqs import make_sqs
    from hemiec.workflows.sqs import SqsMaker

    spec = candidate({"La": "2/3", "Sr": "1/3"}, {"Co": 1})
    settings = SqsSettings(max_atoms=30, quality="fast")
    doc = SqsDoc.model_validate(run(SqsMaker(settings=settings, seed=5).make(spec.model_dump())))
    (expected,) = make_sqs(spec, settings, seed=5).members
    assert Structure.from_dict(doc.structure) == Structure.from_dict(expected.structure)
    assert doc.candidate == spec
    assert list(data_dir.rglob("*.json"))  # the patterns are kept in the data folder
