"""Structures as files that other programs read, the figure of their order, and `hemiec sqs`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import yaml
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.errors import InputError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import SqsDoc, SqsEnsemble
from hemiec.structures.export import FORMATS, as_text, plot, provenance, stem, write
from hemiec.structures.sqs import make_sqs

MIXTURES: dict[str, Any] = {
    "five on A": {"A": dict.fromkeys(("La", "Pr", "Nd", "Sr", "Ba"), "1/5"), "B": {"Co": "1"}},
    "vacancies on X": {"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": "1"}, "X": {"O": "11/12", "vacancy": "1/12"}},
    "lithium and vacancies on A": {
        "A": {"Li": "1/4", "Sr": "1/2", "vacancy": "1/4"},
        "B": {"Ta": "3/4", "Zr": "1/4"},
    },
    "one species on two": {"A": {"La": "1/2", "Fe": "1/2"}, "B": {"Fe": "1/2", "Co": "1/2"}},
    "mixed anions": {"A": {"Sr": "1"}, "B": {"Fe": "1"}, "X": {"O": "2/3", "F": "1/3"}},
    "tilted": {"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Mn": "1"}},
}


@pytest.fixture(scope="module")
def ensembles() -> dict[str, SqsEnsemble]:
    made = {}
    for name, sites in MIXTURES.items():
        candidate = make_candidate(sites, DEFAULT_OXIDATION_STATES)
        settings = SqsSettings(quality="fast", max_atoms=50, tilt="Pnma" if name == "tilted" else "none")
        made[name] = make_sqs(candidate, settings, n=2, seed=6)
    return made


@pytest.fixture(params=list(MIXTURES))
def doc(request: pytest.FixtureRequest, ensembles: dict[str, SqsEnsemble]) -> SqsDoc:
    return ensembles[request.param].members[0]


def assert_same(found: Structure, doc: SqsDoc) -> None:
    """Same lattice, and every site of the ideal structure is there with its species, whatever the order."""
    expected = Structure.from_dict(doc.ideal_structure)
    assert found.composition == expected.composition
    assert found.lattice.parameters == pytest.approx(expected.lattice.parameters, abs=1e-6)
    difference = found.frac_coords[:, None, :] - expected.frac_coords[None, :, :]
    apart = np.abs(difference - np.round(difference)).max(axis=-1)
    partner = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < 1e-6
    assert sorted(partner) == list(range(len(expected)))
    assert [s.specie.symbol for s in found] == [expected[int(k)].specie.symbol for k in partner]


# Files


def test_other_programs_read_every_format_back(doc: SqsDoc, tmp_path: Path) -> None:
    paths = {path.suffix: path for path in write(doc, tmp_path / "new" / "folder")}
    assert set(paths) == set(FORMATS.values())
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in paths.values())
    assert_same(Structure.from_file(paths[".POSCAR"]), doc)
    assert_same(Structure.from_file(paths[".cif"]), doc)
    for suffix, kind in ((".POSCAR", "vasp"), (".cif", "cif"), (".extxyz", "extxyz")):
        atoms = ase.io.read(paths[suffix], format=kind)
        assert atoms.pbc.all()
        assert_same(AseAtomsAdaptor.get_structure(atoms), doc)
        if suffix != ".cif":  # which keeps lengths and angles, not the orientation
            assert np.allclose(atoms.cell[:], Structure.from_dict(doc.ideal_structure).lattice.matrix, atol=1e-7)
    labels = atoms.arrays["sublattice"].tolist()
    assert Counter(labels) == Counter(Structure.from_dict(doc.ideal_structure).site_properties["site"])


def test_nothing_vacant_is_written(ensembles: dict[str, SqsEnsemble]) -> None:
    for name in ("vacancies on X", "lithium and vacancies on A"):
        for kind in FORMATS:
            text = as_text(ensembles[name].members[0], kind).lower()
            assert "vacancy" not in text.replace(provenance(ensembles[name].members[0]).lower(), "")
        assert ensembles[name].members[0].n_atoms == {"vacancies on X": 38, "lithium and vacancies on A": 38}[name]


def test_provenance_is_in_the_comment(doc: SqsDoc, tmp_path: Path) -> None:
    line = provenance(doc)
    assert "\n" not in line
    for part in (doc.candidate.candidate_id, doc.candidate.formula, f"seed {doc.seed}", "icet", "hemiec"):
        assert part in line
    paths = {path.suffix: path for path in write(doc, tmp_path)}
    assert paths[".POSCAR"].read_text().splitlines()[0] == line
    assert paths[".cif"].read_text().splitlines()[0] == f"# {line}"
    info = ase.io.read(paths[".extxyz"]).info
    assert info["provenance"] == line
    assert info["candidate_id"] == doc.candidate.candidate_id
    assert (info["member"], info["seed"]) == (doc.member, 6)
    assert info["warren_cowley_rms"] == pytest.approx(doc.warren_cowley_rms)
    assert info["icet_l1"] == pytest.approx(doc.icet_l1)


def test_icet_scores_the_file_as_stored(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    from ase import Atoms
    from icet import ClusterSpace

    doc = ensembles["five on A"].members[1]
    (path,) = write(doc, tmp_path, ["poscar"])
    atoms = ase.io.read(path, format="vasp")
    a = (atoms.get_volume() / doc.n_formula_units) ** (1 / 3)
    positions = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    parent = Atoms("LaCoO3", scaled_positions=positions, cell=[a] * 3, pbc=True)
    space = ClusterSpace(
        parent, [c * a for c in doc.cutoffs], [list(doc.candidate.sites["A"]), ["Co"], ["O"], ["O"], ["O"]]
    )
    # At equal fractions every correlation of the random alloy but the empty cluster's vanishes.
    assert np.abs(space.get_cluster_vector(atoms)[1:]).sum() == pytest.approx(doc.icet_l1, abs=1e-6)


def test_members_have_their_own_files(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    for ensemble in ensembles.values():
        for doc in ensemble.members:
            write(doc, tmp_path)
    n = sum(len(ensemble.members) for ensemble in ensembles.values())
    assert len(list(tmp_path.iterdir())) == 3 * n == 3 * len({stem(d) for e in ensembles.values() for d in e.members})


def test_writing_again_replaces(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    doc = ensembles["mixed anions"].members[0]
    before = {p: p.read_text() for p in write(doc, tmp_path)}
    for path in before:
        path.write_text("old")
    assert {p: p.read_text() for p in write(doc, tmp_path)} == before
    assert sorted(tmp_path.iterdir()) == sorted(before)


def test_a_file_is_whole_or_absent(
    ensembles: dict[str, SqsEnsemble], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = ensembles["five on A"].members[0]

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        write(doc, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"file.*cannot be written.*--out"):
            write(ensembles["five on A"].members[0], folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unknown_format_is_refused(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    doc = ensembles["five on A"].members[0]
    with pytest.raises(InputError, match="'xyz' is unknown"):
        as_text(doc, "xyz")
    with pytest.raises(InputError, match="'xyz' is unknown"):
        write(doc, tmp_path, ["xyz"])


# Figure


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures that were saved."""
    from matplotlib.figure import Figure

    saved: list[Any] = []
    original = Figure.savefig

    def savefig(self: Any, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("five on A", [15]), ("one species on two", [3, 4, 3]), ("mixed anions", [3]), ("vacancies on X", [3, 4, 3])],
)
def test_the_figure_has_a_place_for_every_pair(
    name: str, pairs: list[int], ensembles: dict[str, SqsEnsemble], figures: list[Any], tmp_path: Path
) -> None:
    ensemble = ensembles[name]
    path = tmp_path / "new" / "order.png"
    plot(ensemble, path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
    (figure,) = figures
    between = list(dict.fromkeys(tuple(p.sublattices) for p in ensemble.members[0].warren_cowley))
    assert [len(axes.get_xticks()) for axes in figure.axes] == pairs
    for axes, sublattices in zip(figure.axes, between, strict=True):
        labels = [text.get_text() for text in axes.get_xticklabels()]
        assert len(set(labels)) == len(labels)
        stored = {tuple(p.pair) for p in ensemble.members[0].warren_cowley if tuple(p.sublattices) == sublattices}
        shown = {tuple(label.split("–")) for label in labels}
        assert shown <= stored
        if sublattices[0] == sublattices[1]:
            assert stored == shown | {pair[::-1] for pair in shown}
        else:
            assert stored == shown
        assert "–".join(sublattices) in axes.get_ylabel()


def test_the_figure_shows_the_means(ensembles: dict[str, SqsEnsemble], figures: list[Any], tmp_path: Path) -> None:
    ensemble = ensembles["one species on two"]
    plot(ensemble, tmp_path / "order.svg")
    assert (tmp_path / "order.svg").read_text().startswith("<?xml")
    axes = figures[0].axes[1]
    labels = [tuple(text.get_text().split("–")) for text in axes.get_xticklabels()]
    for line in (line for line in axes.lines if line.get_label().startswith("shell")):
        shell = int(line.get_label().split()[-1])
        for label, x, y in zip(labels, line.get_xdata(), line.get_ydata(), strict=True):
            alphas = [
                p.alpha
                for doc in ensemble.members
                for p in doc.warren_cowley
                if p.sublattices == ["A", "B"] and p.shell == shell and tuple(p.pair) == label
            ]
            assert len(alphas) == len(ensemble.members)
            assert y == pytest.approx(np.mean(alphas))
            assert abs(x - labels.index(label)) < 0.5


def test_a_figure_that_cannot_be_drawn_says_why(ensembles: dict[str, SqsEnsemble], tmp_path: Path) -> None:
    ordered = make_sqs(
        make_candidate({"A": {"Sr": "1"}, "B": {"Ti": "1"}}, DEFAULT_OXIDATION_STATES), SqsSettings(max_atoms=5)
    )
    with pytest.raises(InputError, match="no order to plot"):
        plot(ordered, tmp_path / "order.png")
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        plot(ensembles["five on A"], tmp_path / "order.poscar")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        plot(ensembles["five on A"], tmp_path / "file" / "order.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# The command


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(data_dir: Path, tmp_path: Path) -> Run:
    def run_command(*arguments: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "hemiec.cli.main", "sqs", *arguments],
            env=os.environ | {"COLUMNS": "120"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run_command


def test_a_formula_becomes_files_json_and_a_figure(run: Run, tmp_path: Path) -> None:
    arguments = ("(La,Pr,Nd,Sr,Ba)CoO3", "-n", "3", "--seed", "9", "--max-atoms", "50", "--quality", "fast")
    result = run(*arguments, "--out", "made", "--plot", "order.png", "--json")
    assert result.code == 0, result.err
    documents = [SqsDoc.model_validate(content) for content in json.loads(result.out)]
    assert [doc.member for doc in documents] == [0, 1, 2]
    assert {doc.seed for doc in documents} == {9}
    assert {doc.n_atoms for doc in documents} == {50}
    assert {"structure", "ideal_structure", "warren_cowley_rms", "icet_l1", "icet_objective", "sublattices",
            "rounding", "net_charge", "versions", "notes", "supercell"} <= set(json.loads(result.out)[0])  # fmt: skip
    assert len(list((tmp_path / "made").iterdir())) == 9
    for doc in documents:
        assert_same(Structure.from_file(tmp_path / "made" / f"{stem(doc)}.POSCAR"), doc)
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")
    # The same from Python.
    again = make_sqs(documents[0].candidate, SqsSettings(max_atoms=50, quality="fast"), n=3, seed=9)
    assert [d.to_mongo()["structure"] for d in again.members] == [d.to_mongo()["structure"] for d in documents]
    # A second run reads the patterns it kept, and says the same to people.
    read = run(*arguments)
    assert read.code == 0
    assert "A: " in read.out and "50 atoms" in read.out and "member 2" in read.out
    for doc in documents:
        assert f"{doc.warren_cowley_rms:.4f}" in read.out
    assert "mean of 3 members" in read.out


def test_stated_sites_options_and_budget(run: Run) -> None:
    result = run(
        "A:Sr0.5Ba0.5 B:Co0.5Fe0.5 X:O2.75", "--max-atoms", "40", "--quality", "best", "--budget", "0.01",
        "--tilt", "R-3c", "--min-image", "3", "--no-cache", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    (content,) = json.loads(result.out)
    doc = SqsDoc.model_validate(content)
    assert doc.truncated and doc.tilt == "R-3c"
    assert doc.sublattices["X"].amounts == {"vacancy": 2, "O": 22}
    assert doc.n_atoms == 38
    assert doc.net_charge == pytest.approx(0, abs=1e-6)


def test_a_campaign_gives_the_structures_it_will_compute(run: Run, tmp_path: Path) -> None:
    campaign = {
        "name": "two",
        "seed": 12,
        "space": [{"A": {"La": "1/2", "Sr": "1/2"}, "B": [{"Co": 1}, {"Fe": 1}]}],
        "sqs": {"max_atoms": 20, "quality": "fast"},
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(campaign))
    result = run("two.yaml", "--json", "--out", "made")
    assert result.code == 0, result.err
    documents = [SqsDoc.model_validate(content) for content in json.loads(result.out)]
    assert {doc.candidate.label for doc in documents} == {"(Sr,La)CoO3", "(Sr,La)FeO3"} or len(documents) == 2
    for doc in documents:
        assert (doc.seed, doc.n_atoms) == (12, 20)
        (expected,) = make_sqs(doc.candidate, SqsSettings(max_atoms=20, quality="fast"), seed=12).members
        assert expected.to_mongo()["structure"] == doc.to_mongo()["structure"]
    assert len(list((tmp_path / "made").iterdir())) == 6
    several = run("two.yaml", "--plot", "order.png")
    assert several.code == 2
    assert "--plot draws one candidate" in error_line(several)
    assert not (tmp_path / "order.png").exists()


def error_line(result: Result) -> str:
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["A:Sr0.5Lq0.5 B:Ti X:O3"], "Lq"),
        (["A:La0.37Sr0.63 B:Co X:O3", "--max-atoms", "50"], "500 atoms"),
        (["A:La B:Zr X:O3"], "charge"),
        (["no-such-campaign.yaml"], "no such file"),
        (["A:Sr B:Ti X:O3", "--plot", "order.png"], "no order to plot"),
        (["A:Sr0.5Ba0.5 B:Ti X:O3", "--max-atoms", "10", "--quality", "fast", "--out", "file/below"], "file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], expected: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run(*arguments)
    assert result.code == 2
    assert expected in error_line(result)
    assert "Traceback" not in result.err
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file"]
