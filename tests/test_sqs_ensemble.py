"""Ensembles of special quasirandom structures: composition, cell, tilts, members, determinism and the pattern cache."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.errors import CompositionError, InputError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec, SqsDoc, SqsEnsemble
from hemiec.structures import templates as templates_module
from hemiec.structures.cells import compact_supercell, inequivalent_shapes, shortest_image_distance
from hemiec.structures.order import rms, warren_cowley
from hemiec.structures.parent import Supercell, cubic_perovskite
from hemiec.structures.sqs import displacements, lattice_parameter, make_sqs
from hemiec.structures.tilts import TILTS, commensurate, tilted_positions

FIVE = dict.fromkeys(("La", "Pr", "Nd", "Sr", "Ba"), "1/5")


def of(A: Mapping[str, str], B: Mapping[str, str] | None = None, X: Mapping[str, str] | None = None) -> CandidateSpec:
    return make_candidate({"A": A, "B": B or {"Co": "1"}, "X": X or {"O": "1"}}, DEFAULT_OXIDATION_STATES)


def fast(**settings: Any) -> SqsSettings:
    return SqsSettings(**({"quality": "fast", "max_atoms": 50} | settings))


def ideal(doc: SqsDoc, *, only: str | None = None) -> Structure:
    """Return the ideal structure, or the sites of one sublattice."""
    structure = Structure.from_dict(doc.ideal_structure)
    if only is not None:
        labels = structure.site_properties["site"]
        structure.remove_sites([n for n, label in enumerate(labels) if label != only])
    structure.remove_site_property("site")
    return structure


def on_sites(doc: SqsDoc) -> Counter[tuple[str, str]]:
    structure = Structure.from_dict(doc.ideal_structure)
    return Counter(
        (site, s.specie.symbol) for site, s in zip(structure.site_properties["site"], structure, strict=True)
    )


def identical_pairs(structures: list[Structure]) -> list[tuple[int, int]]:
    matcher = StructureMatcher(primitive_cell=True, scale=False, attempt_supercell=False)
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(structures)), 2)
        if matcher.fit(structures[i], structures[j])
    ]


@pytest.fixture(scope="module")
def five() -> CandidateSpec:
    return of(FIVE)


@pytest.fixture(scope="module")
def eight(five: CandidateSpec) -> SqsEnsemble:
    return make_sqs(five, fast(max_atoms=100), n=8, seed=5)


# Composition


@pytest.mark.parametrize(
    ("candidate", "max_atoms", "expected"),
    [
        (of(FIVE), 50, {("A", s): 2 for s in FIVE} | {("B", "Co"): 10, ("X", "O"): 30}),
        (
            of({"La": "1/2", "Fe": "1/2"}, {"Fe": "1/4", "Co": "3/4"}),
            40,
            {("A", "La"): 4, ("A", "Fe"): 4, ("B", "Fe"): 2, ("B", "Co"): 6, ("X", "O"): 24},
        ),
        (
            of({"Sr": "1"}, {"Fe": "1"}, {"O": "2/3", "F": "1/3"}),
            20,
            {("A", "Sr"): 4, ("B", "Fe"): 4, ("X", "O"): 8, ("X", "F"): 4},
        ),
        (
            of({"La": "1/2", "Sr": "1/2"}, None, {"O": "11/12", "vacancy": "1/12"}),
            40,
            {("A", "La"): 4, ("A", "Sr"): 4, ("B", "Co"): 8, ("X", "O"): 22},
        ),
        (
            of({"Li": "1/4", "Sr": "1/2", "vacancy": "1/4"}, {"Ta": "3/4", "Zr": "1/4"}),
            40,
            {("A", "Li"): 2, ("A", "Sr"): 4, ("B", "Ta"): 6, ("B", "Zr"): 2, ("X", "O"): 24},
        ),
    ],
    ids=["five", "a species on A and B", "anions", "oxygen vacancies", "lithium and vacancies"],
)
def test_the_cell_holds_exactly_what_was_asked(
    candidate: CandidateSpec, max_atoms: int, expected: dict[tuple[str, str], int]
) -> None:
    ensemble = make_sqs(candidate, fast(max_atoms=max_atoms), n=2)
    for doc in ensemble.members:
        assert on_sites(doc) == expected
        assert doc.n_atoms == sum(expected.values()) == len(Structure.from_dict(doc.structure))
        assert doc.rounding == 0
        assert doc.net_charge == pytest.approx(0, abs=1e-6)
        assert "vacancy" not in Structure.from_dict(doc.structure).formula
        for site, order in doc.sublattices.items():
            assert order.requested == pytest.approx(order.realised)
            assert order.requested == pytest.approx({s: eval_fraction(x) for s, x in candidate.sites[site].items()})
            assert sum(order.amounts.values()) == doc.n_formula_units * (3 if site == "X" else 1)
            assert (order.wc4 is None) == (len(order.amounts) == 1)


def eval_fraction(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return int(numerator) / int(denominator or 1)


def test_both_sublattices_and_the_pairs_between_them_are_judged() -> None:
    doc = make_sqs(of({"La": "1/2", "Fe": "1/2"}, {"Fe": "1/4", "Co": "3/4"}), fast(max_atoms=40)).members[0]
    between = {tuple(p.sublattices): {q.shell for q in doc.warren_cowley if q.sublattices == p.sublattices}
               for p in doc.warren_cowley}  # fmt: skip
    assert between == {("A", "A"): {1, 2, 3, 4}, ("B", "B"): {1, 2, 3, 4}, ("A", "B"): {1, 2}}
    assert doc.warren_cowley_rms == pytest.approx(np.sqrt(np.mean([p.alpha**2 for p in doc.warren_cowley])))
    for site in "AB":
        assert doc.sublattices[site].wc4 == pytest.approx(rms(warren_cowley(ideal(doc, only=site), sublattice=site)))
    # A-B pairs from pymatgen's neighbour list: eight at sqrt(3)/2 a, 24 at sqrt(11)/2 a.
    a = lattice_parameter(doc.candidate)
    structure = Structure.from_dict(doc.ideal_structure)
    labels = np.array(structure.site_properties["site"])
    symbols = np.array([s.specie.symbol for s in structure])
    i, j, _, distance = structure.get_neighbor_list(1.7 * a)
    for shell, d in ((1, 0.75**0.5 * a), (2, 2.75**0.5 * a)):
        inside = (np.abs(distance - d) < 1e-3) & (labels[i] == "A") & (labels[j] == "B")
        assert inside.sum() == 8 * (8, 24)[shell - 1]
        for p in (p for p in doc.warren_cowley if p.sublattices == ["A", "B"] and p.shell == shell):
            assert p.distance == pytest.approx(d)
            fraction = np.mean((symbols[i[inside]] == p.pair[0]) & (symbols[j[inside]] == p.pair[1]))
            c = [doc.sublattices[site].realised[s] for site, s in zip("AB", p.pair, strict=True)]
            assert p.alpha == pytest.approx(1 - fraction / (c[0] * c[1]))


def test_vacancies_are_part_of_the_pattern() -> None:
    """The parameters of a deficient sublattice include its empty sites, counted here by putting them back."""
    candidate = of({"Li": "1/4", "Sr": "1/2", "vacancy": "1/4"}, {"Ta": "3/4", "Zr": "1/4"})
    doc = make_sqs(candidate, fast(max_atoms=40)).members[0]
    filled = ideal(doc, only="A")
    cell = Supercell(cubic_perovskite(lattice_parameter(candidate)), doc.supercell)
    for position in cell.positions[cell.sites("A")]:
        if all(site.distance_and_image_from_frac_coords(position)[0] > 0.1 for site in filled):
            filled.append("He", position)
    assert len(filled) == 8
    assert doc.sublattices["A"].wc4 == pytest.approx(rms(warren_cowley(filled)))
    assert {s for p in doc.warren_cowley for s in p.pair} >= {"vacancy", "Li", "Sr"}


def test_rounding_is_refused_by_default_reported_when_allowed_and_limited() -> None:
    candidate = of({"La": "37/100", "Sr": "63/100"})
    with pytest.raises(CompositionError, match="500 atoms"):
        make_sqs(candidate, fast(max_atoms=40))
    doc = make_sqs(candidate, fast(max_atoms=40, rounding=0.02)).members[0]
    assert doc.rounding == pytest.approx(3 / 8 - 0.37)
    assert doc.sublattices["A"].amounts == {"Sr": 5, "La": 3}
    assert doc.sublattices["A"].requested == pytest.approx({"La": 0.37, "Sr": 0.63})
    assert doc.sublattices["A"].realised == pytest.approx({"La": 0.375, "Sr": 0.625})
    assert any("rounded by up to 0.0050" in note for note in doc.notes)
    # The valence of the exact composition (Co 3.63) leaves the rounding's 0.005 e.
    assert doc.net_charge == pytest.approx(0.005, abs=1e-6)
    with pytest.raises(CompositionError, match=r"within 0\.004; the best one is off by 0\.005"):
        make_sqs(candidate, fast(max_atoms=40, rounding=0.004))


def test_rounding_that_unbalances_the_charge_is_refused() -> None:
    # Five units hold Na 1, La 4, Al 4, Ti 1 at best: 29/5 positive charges against 6.
    candidate = of({"Na": "1/8", "La": "7/8"}, {"Al": "3/4", "Ti": "1/4"})
    with pytest.raises(CompositionError, match=r"charge of -0\.200 e per formula unit"):
        make_sqs(candidate, fast(max_atoms=25, rounding=0.1))


def test_rounding_never_drops_a_species() -> None:
    """A dopant that the cell cannot hold is refused: a structure without it is another compound."""
    with pytest.raises(CompositionError, match="Sr"):
        make_sqs(of({"La": "99/100", "Sr": "1/100"}), fast(max_atoms=25, rounding=0.02))


# Cell


def test_the_shape_is_free_compact_or_says_that_images_are_close(five: CandidateSpec) -> None:
    a = lattice_parameter(five)
    compact = make_sqs(five, fast(max_atoms=100, shape="compact")).members[0]
    best = shortest_image_distance(np.array(compact_supercell(20)))
    assert shortest_image_distance(np.array(compact.supercell)) == pytest.approx(best)
    assert compact.shortest_image_distance == pytest.approx(best * a)
    assert compact.warren_cowley_rms == pytest.approx(0.1868, abs=5e-5)  # known best of this shape
    free = make_sqs(five, fast(max_atoms=100)).members[0]
    assert free.shortest_image_distance >= 8.5
    assert free.warren_cowley_rms < compact.warren_cowley_rms
    assert not any("angstrom apart" in note for note in [*compact.notes, *free.notes])
    assert any("octahedral tilts" in note for note in free.notes)  # 20 units, and yet none of their periods
    far = make_sqs(five, fast(max_atoms=100, min_image_distance=40)).members[0]
    assert any("40 angstrom" in note and f"{far.shortest_image_distance:.2f}" in note for note in far.notes)
    assert far.shortest_image_distance == pytest.approx(compact.shortest_image_distance)
    close = make_sqs(five, fast(max_atoms=100, min_image_distance=1)).members[0]
    assert close.warren_cowley_rms <= free.warren_cowley_rms + 1e-9


def test_every_member_obeys_the_image_distance(eight: SqsEnsemble) -> None:
    for doc in eight.members:
        lattice = ideal(doc).lattice
        shortest = min(
            np.linalg.norm(np.array(v) @ lattice.matrix) for v in itertools.product(range(-4, 5), repeat=3) if any(v)
        )
        assert shortest == pytest.approx(doc.shortest_image_distance)
        assert shortest >= 8.5


# Tilts

SPACE_GROUPS = {"Pnma": 62, "R-3c": 167, "I4/mcm": 140}


@pytest.mark.parametrize("name", list(TILTS))
@pytest.mark.parametrize("n_units", [4, 8])
def test_a_tilted_ternary_has_the_space_group_of_the_system(name: str, n_units: int) -> None:
    parent = cubic_perovskite(3.905)
    shapes = commensurate(inequivalent_shapes(n_units, parent, sublattice="A"), TILTS[name])
    assert shapes
    for shape in shapes:
        cell = Supercell(parent, shape.rows)
        species = [{"A": "Sr", "B": "Ti", "X": "O"}[site] for site in cell.sublattices]
        structure = Structure(Lattice(cell.lattice), species, tilted_positions(cell, TILTS[name]))
        found = SpacegroupAnalyzer(structure, symprec=1e-3)
        assert (found.get_space_group_symbol(), found.get_space_group_number()) == (name, SPACE_GROUPS[name])
        for n, site in enumerate(structure):
            if site.specie.symbol == "Ti":
                bonds = sorted(x.nn_distance for x in structure.get_neighbors(structure[n], 2.5))
                assert len(bonds) == 6
                # All X move off their bond about two axes; without a tilt about x and y the two along z stay.
                equal = [bonds] if name != "I4/mcm" else [bonds[:2], bonds[2:]]
                assert all(b == pytest.approx([b[0]] * len(b)) for b in equal)
                turned = 2 if name != "I4/mcm" else 1
                assert bonds[-1] == pytest.approx(3.905 / 2 * (1 + turned * np.tan(np.radians(8)) ** 2) ** 0.5)


@pytest.mark.parametrize("name", list(TILTS))
def test_cells_that_cut_a_tilt_are_neither_accepted_nor_chosen(name: str) -> None:
    parent = cubic_perovskite(3.9)
    for n in (1, 3, 5, 6) if name == "Pnma" else (1, 3, 5):
        shapes = inequivalent_shapes(n, parent, sublattice="A")
        assert commensurate(shapes, TILTS[name]) == ()
        with pytest.raises(ValueError, match="not commensurate"):
            tilted_positions(Supercell(parent, shapes[0].rows), TILTS[name])


@pytest.mark.parametrize("name", list(TILTS))
def test_a_tilted_sqs_is_whole_and_sane(five: CandidateSpec, name: str) -> None:
    smallest = {"Pnma": 100, "R-3c": 50, "I4/mcm": 50}[name]
    with pytest.raises(CompositionError, match=f"{smallest} atoms"):
        make_sqs(five, fast(max_atoms=smallest - 25, tilt=name))
    for doc in make_sqs(five, fast(max_atoms=smallest, tilt=name), n=2).members:
        assert doc.tilt == name and doc.n_atoms == smallest
        assert TILTS[name].turn(np.array(doc.supercell)) is not None
        structure = Structure.from_dict(doc.structure)
        assert np.isfinite(structure.frac_coords).all()
        distances = structure.distance_matrix[np.triu_indices(len(structure), 1)]
        assert distances.min() > 1.5
        # The X atoms have moved by about a/2 tan 8 degrees per axis, the others only by the displacements.
        straight = Structure.from_dict(doc.ideal_structure)
        shift = structure.frac_coords - straight.frac_coords
        moved = np.linalg.norm(straight.lattice.get_cartesian_coords(shift - np.round(shift)), axis=1)
        labels = np.array(straight.site_properties["site"])
        assert moved[labels == "X"].mean() > 0.15 > 0.12 > moved[labels != "X"].mean()
        # Scores are those of the sites, which a tilt does not move.
        assert rms(warren_cowley(ideal(doc, only="A"))) == pytest.approx(doc.warren_cowley_rms)


# Members


def test_members_are_different_structures(eight: SqsEnsemble) -> None:
    assert len(eight.members) == 8 and not eight.notes
    assert [doc.member for doc in eight.members] == list(range(8))
    # Among A sites alone the symmetry is that of the perovskite.
    assert identical_pairs([ideal(doc, only="A") for doc in eight.members]) == []


@pytest.mark.parametrize("min_image_distance", [1.0, 8.5])
@pytest.mark.parametrize(
    "candidate",
    [
        of({"La": "1/2", "Sr": "1/2"}),
        of({"La": "1/2", "Sr": "1/2"}, {"Co": "1/2", "Fe": "1/2"}),
        of({"La": "1/4", "Sr": "3/4"}),
    ],
    ids=lambda c: c.label,
)
def test_small_cells_run_out_of_members_rather_than_repeat(candidate: CandidateSpec, min_image_distance: float) -> None:
    """Patterns that repeat within the cell could come back in another shape: pymatgen reduces them first."""
    ensemble = make_sqs(candidate, fast(max_atoms=40, min_image_distance=min_image_distance), n=40)
    assert identical_pairs([ideal(doc) for doc in ensemble.members]) == []
    assert len(ensemble.members) < 40
    assert any("40 members" in note and str(len(ensemble.members)) in note for note in ensemble.notes)


def test_averaging_members_brings_order_closer_to_random(eight: SqsEnsemble) -> None:
    alphas = [{(tuple(p.pair), p.shell): p.alpha for p in doc.warren_cowley} for doc in eight.members]
    mean = [np.mean([a[key] for a in alphas]) for key in alphas[0]]
    assert eight.warren_cowley_rms == pytest.approx(np.sqrt(np.mean(np.square(mean))))
    assert eight.warren_cowley_rms < 0.75 * min(doc.warren_cowley_rms for doc in eight.members)


@pytest.mark.parametrize(
    "candidate", [of(FIVE), of({"Sr": "1"}, {"Fe": "1"}, {"O": "3/4", "F": "1/4"})], ids=lambda c: c.label
)
def test_members_come_the_best_first(candidate: CandidateSpec) -> None:
    ensemble = make_sqs(candidate, fast(max_atoms=100 if "La" in candidate.formula else 40), n=8)
    errors = [round(doc.warren_cowley_rms, 9) for doc in ensemble.members]
    assert errors == sorted(errors)


def test_the_single_structure_is_the_best_of_the_ensemble(five: CandidateSpec, eight: SqsEnsemble) -> None:
    one = make_sqs(five, fast(max_atoms=100), n=1, seed=5)
    assert one.members[0].warren_cowley_rms == pytest.approx(min(m.warren_cowley_rms for m in eight.members))
    assert one.warren_cowley_rms == pytest.approx(one.members[0].warren_cowley_rms)


def test_stored_errors_are_those_of_the_stored_structures(eight: SqsEnsemble) -> None:
    for doc in eight.members:
        assert rms(warren_cowley(ideal(doc, only="A"))) == pytest.approx(doc.warren_cowley_rms)
        assert doc.sublattices["A"].wc4 == pytest.approx(doc.warren_cowley_rms)


@pytest.mark.parametrize(
    "candidate", [of({"La": "1/2", "Sr": "1/2"}), of({"La": "1/8", "Pr": "3/8", "Ba": "1/2"})], ids=lambda c: c.label
)
def test_icets_stored_scores_are_those_of_the_stored_structure(candidate: CandidateSpec) -> None:
    """Plain icet on the written cell; Q subtracts the radius up to which all correlations vanish, in angstrom."""
    from ase import Atoms
    from icet import ClusterSpace
    from icet.tools.structure_generation import _get_sqs_cluster_vector
    from mchammer.calculators import compare_cluster_vectors

    doc = make_sqs(candidate, fast(max_atoms=80)).members[0]
    a = lattice_parameter(candidate)
    positions = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    parent = Atoms("LaCoO3", scaled_positions=positions, cell=[a] * 3, pbc=True)
    species = {s: eval_fraction(x) for s, x in candidate.sites["A"].items()}
    space = ClusterSpace(parent, [c * a for c in doc.cutoffs], [list(species), ["Co"], ["O"], ["O"], ["O"]])
    target = _get_sqs_cluster_vector(space, {"A": species})
    structure = ideal(doc)
    vector = space.get_cluster_vector(AseAtomsAdaptor.get_atoms(structure, msonable=False))
    assert doc.icet_l1 == pytest.approx(np.abs(vector - target).sum(), abs=1e-6)
    q = compare_cluster_vectors(vector, target, as_list=space.as_list, optimality_weight=1.0)
    assert doc.icet_objective == pytest.approx(q, abs=1e-6)


@pytest.mark.parametrize("amounts", [(4, 4, 4, 4, 4), (8, 2, 4, 6)], ids=str)
def test_icets_l1_is_that_of_the_real_elements_when_it_is_the_objective(amounts: tuple[int, ...]) -> None:
    """L1 depends on the order of the elements: what was minimised must be what icet finds in the structure."""
    from ase import Atoms
    from icet import ClusterSpace
    from icet.tools.structure_generation import _get_sqs_cluster_vector

    elements = ("Sr", "Ba", "La", "Pr", "Nd")[: len(amounts)]
    candidate = of({s: f"{n}/20" for s, n in zip(elements, amounts, strict=True)})
    a = lattice_parameter(candidate)
    species = {s: n / 20 for s, n in zip(elements, amounts, strict=True)}
    primitive = Atoms("La", scaled_positions=[(0.5, 0.5, 0.5)], cell=[a] * 3, pbc=True)
    space = ClusterSpace(primitive, [2.05 * a], [list(species)])
    target = _get_sqs_cluster_vector(space, species)
    values = {}
    for objective in ("icet-l1", "warren-cowley"):
        for seed in (0, 1):
            doc = make_sqs(candidate, fast(max_atoms=100, shape="compact", objective=objective), seed=seed).members[0]
            atoms = AseAtomsAdaptor.get_atoms(ideal(doc, only="A"), msonable=False)
            values[objective, seed] = float(np.abs(space.get_cluster_vector(atoms) - target).sum())
    assert values["icet-l1", 0] == pytest.approx(values["icet-l1", 1])  # the best, whatever the seed deals
    assert values["icet-l1", 0] < min(values["warren-cowley", 0], values["warren-cowley", 1])
    if amounts == (4, 4, 4, 4, 4):
        assert values["icet-l1", 0] <= 0.618  # smol's best; the fast search has 0.601


def test_an_ordered_compound_has_one_member() -> None:
    ensemble = make_sqs(of({"Sr": "1"}, {"Ti": "1"}), fast(max_atoms=20), n=3)
    (doc,) = ensemble.members
    assert (doc.warren_cowley_rms, doc.icet_l1, doc.warren_cowley, doc.n_runs) == (0, 0, [], 0)
    assert ensemble.warren_cowley_rms == 0
    assert any("only 1" in note for note in ensemble.notes)
    assert ideal(doc).get_space_group_info() == ("Pm-3m", 221)


def test_the_document_is_json_and_comes_back(eight: SqsEnsemble) -> None:
    assert SqsEnsemble.model_validate_json(eight.model_dump_json()).to_mongo() == eight.to_mongo()
    doc = SqsDoc.model_validate(json.loads(json.dumps(eight.members[3].to_mongo())))
    assert Structure.from_dict(doc.structure) == Structure.from_dict(eight.members[3].structure)


def test_displacements_of_members_differ_but_not_their_ideal_lattice(eight: SqsEnsemble) -> None:
    for doc in eight.members:
        ideal_cell = Structure.from_dict(doc.ideal_structure)
        moved = ideal_cell.cart_coords + displacements(len(ideal_cell), doc.seed)
        assert np.allclose(moved, Structure.from_dict(doc.structure).cart_coords)


# Determinism

_SCRIPT = """
import hashlib, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_sqs_ensemble import FIVE, fast, make_sqs, of
cores, cache = int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3] else None
found = {}
for seed in (3, 4):
    for candidate, atoms in ((of(FIVE), 50), (of({"La": "1/2", "Sr": "1/2"}, {"Co": "1/2", "Fe": "1/2"}), 30)):
        ensemble = make_sqs(candidate, fast(max_atoms=atoms), n=3, seed=seed, n_cores=cores, cache=cache)
        found[f"{candidate.label} {seed}"] = [
            hashlib.sha256(json.dumps(doc.model_dump(exclude={"origin"}), sort_keys=True).encode()).hexdigest()
            for doc in ensemble.members
        ]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def in_fresh_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    """The same ensembles made by two processes: other hash seeds, cores and cache."""
    cache = tmp_path_factory.mktemp("patterns")
    results = []
    for hash_seed, cores, folder in (("1", "1", ""), ("77", "2", str(cache))):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(Path(__file__).parent), cores, folder],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    return results


def test_fresh_processes_agree_whatever_their_hash_seed_cores_and_cache(
    in_fresh_processes: list[dict[str, list[str]]],
) -> None:
    one, other = in_fresh_processes
    assert one == other


def test_other_seeds_give_other_structures(in_fresh_processes: list[dict[str, list[str]]]) -> None:
    hashes = [h for members in in_fresh_processes[0].values() for h in members]
    assert len(set(hashes)) == len(hashes) == 12


def test_this_process_agrees_too(in_fresh_processes: list[dict[str, list[str]]], five: CandidateSpec) -> None:
    import hashlib

    doc = make_sqs(five, fast(max_atoms=50), n=3, seed=3).members[0]
    text = json.dumps(doc.model_dump(exclude={"origin"}), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == in_fresh_processes[0][f"{five.label} 3"][0]


def test_a_spent_budget_gives_a_valid_structure_that_is_not_cached(
    five: CandidateSpec, no_shipped: None, tmp_path: Path
) -> None:
    settings = SqsSettings(max_atoms=100, quality="best")
    ensemble = make_sqs(five, settings, budget_s=1e-6, cache=tmp_path / "patterns", n=2)
    doc = ensemble.members[0]
    assert doc.truncated and doc.n_runs >= 1
    assert on_sites(doc) == {("A", s): 4 for s in FIVE} | {("B", "Co"): 20, ("X", "O"): 60}
    assert rms(warren_cowley(ideal(doc, only="A"))) == pytest.approx(doc.warren_cowley_rms)
    assert not list(tmp_path.rglob("*.json"))


# Patterns


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("the patterns should have been read")


def without_origin(ensemble: SqsEnsemble) -> Any:
    return ensemble.model_dump(exclude={"members": {"__all__": {"origin"}}})


@pytest.fixture(scope="module")
def uncached(five: CandidateSpec) -> SqsEnsemble:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates_module, "_shipped", dict)
        return make_sqs(five, fast(max_atoms=25 * 3), n=2, seed=1)


@pytest.fixture
def no_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates_module, "_shipped", dict)


Remake = Callable[[Path], SqsEnsemble]


@pytest.fixture
def remake(five: CandidateSpec, no_shipped: None) -> Remake:
    return lambda cache: make_sqs(five, fast(max_atoms=25 * 3), n=2, seed=1, cache=cache)


def test_the_second_call_reads_the_cache_and_agrees(
    remake: Remake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remake(tmp_path / "new" / "folder")
    assert {doc.origin for doc in first.members} == {"search"}
    (file,) = (tmp_path / "new" / "folder").iterdir()  # and nothing half-written
    assert file.suffix == ".json"
    monkeypatch.setattr(templates_module, "find_templates", refuse)
    second = remake(tmp_path / "new" / "folder")
    assert {doc.origin for doc in second.members} == {"cache"}
    assert without_origin(second) == without_origin(first)


def test_one_pattern_serves_every_choice_of_elements(
    remake: Remake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remake(tmp_path)
    monkeypatch.setattr(templates_module, "find_templates", refuse)
    for A, B in (
        (dict.fromkeys(("Ca", "Sr", "Ba", "Sm", "Gd"), "1/5"), {"Mn": "1"}),
        ({"La": "1"}, dict.fromkeys(("Cr", "Mn", "Fe", "Co", "Ni"), "1/5")),
    ):
        other = make_sqs(of(A, B), fast(max_atoms=75, min_image_distance=8.0), n=1, cache=tmp_path)
        assert other.members[0].origin == "cache"
        best = min(doc.warren_cowley_rms for doc in first.members)
        assert other.members[0].warren_cowley_rms == pytest.approx(best)
        site = "A" if len(A) == 5 else "B"
        assert rms(warren_cowley(ideal(other.members[0], only=site))) == pytest.approx(best)


@pytest.mark.parametrize("order", list(itertools.permutations((4, 3, 1))))
def test_unequal_amounts_land_on_their_species(
    order: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.getbasetemp() / "unequal-patterns"
    elements = ("La", "Sr", "Ba")
    candidate = of({s: f"{n}/8" for s, n in zip(elements, order, strict=True)}, {"Fe": "5/8", "Co": "3/8"})
    doc = make_sqs(candidate, fast(max_atoms=40), cache=cache).members[0]
    assert {s: on_sites(doc)["A", s] for s in elements} == dict(zip(elements, order, strict=True))
    assert (on_sites(doc)["B", "Fe"], on_sites(doc)["B", "Co"]) == (5, 3)
    assert doc.sublattices["A"].wc4 == pytest.approx(rms(warren_cowley(ideal(doc, only="A"))))
    assert len(list(cache.iterdir())) == 1


def _truncated(text: str) -> str:
    return text[: len(text) // 2]


def _other_cell(text: str) -> str:
    content = json.loads(text)
    for pattern in content["patterns"]:
        pattern["occupation"] = pattern["occupation"][:-4]
    return json.dumps(content)


def _other_amounts(text: str) -> str:
    content = json.loads(text)
    for pattern in content["patterns"]:
        pattern["occupation"] = "00" * (len(pattern["occupation"]) // 2)
    return json.dumps(content)


@pytest.mark.parametrize(
    "spoil",
    [
        _truncated,
        lambda _: "",
        lambda _: "\x00\x01",
        lambda _: "[]",
        lambda _: "null",
        lambda _: '{"patterns": [], "n_runs": 3}',
        lambda text: text.replace('"rows"', '"row"'),
        _other_cell,
        _other_amounts,
    ],
    ids=["truncated", "empty", "binary", "list", "null", "no patterns", "key", "too few sites", "other amounts"],
)
def test_a_spoilt_cache_costs_time_not_the_result(
    spoil: Callable[[str], str], remake: Remake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = remake(tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    file.write_text(spoil(whole))
    with caplog.at_level(logging.WARNING):
        again = remake(tmp_path)
    assert without_origin(again) == without_origin(first)
    assert {doc.origin for doc in again.members} == {"search"}
    assert str(file) in caplog.text
    assert json.loads(file.read_text()) == json.loads(whole)  # mended


def test_a_cache_that_cannot_be_written_costs_time_not_the_result(
    remake: Remake, uncached: SqsEnsemble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            ensemble = remake(cache)
        assert "cannot be written" in caplog.text
        assert [d.ideal_structure for d in ensemble.members] == [d.ideal_structure for d in uncached.members]
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_folder_in_the_place_of_a_cached_file_is_survived_without_litter(remake: Remake, tmp_path: Path) -> None:
    remake(tmp_path)
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    remake(tmp_path)
    assert list(tmp_path.iterdir()) == [file]


def test_settings_and_unknown_words_are_checked() -> None:
    for wrong in ({"quality": "standrad"}, {"shape": "cubic"}, {"tilt": "Imma"}, {"max_atoms": 4}, {"rounding": 0.6}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SqsSettings(**wrong)
    with pytest.raises(InputError, match="25 atoms"):
        make_sqs(of(FIVE), fast(max_atoms=24))
