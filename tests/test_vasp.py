"""VASP: inputs beside the Materials Project's, and whole runs with a program that stands in for VASP.

No VASP was run for these tests. `vasp_stand_in.py` writes files of VASP's format with made-up numbers; what is
tested is what hemiec asks for, how it reads outputs, and what it does when a run goes wrong.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vasp_stand_in
from pymatgen.core import Lattice, Structure

from hemiec.engines.protocol import load_protocol, protocol_names
from hemiec.engines.vasp import inputs, recovery
from hemiec.engines.vasp.bands import lay_band, mobile_first
from hemiec.engines.vasp.inputs import mesh_of, prepare, sorted_order, steps_of, write_inputs
from hemiec.engines.vasp.makers import VaspGapMaker, VaspRelaxMaker, VaspStaticMaker
from hemiec.engines.vasp.outputs import KBAR, read_result
from hemiec.engines.vasp.protocol import VaspProtocol
from hemiec.engines.vasp.run import VaspRunMaker
from hemiec.engines.vasp.saddles import VaspSaddleMaker
from hemiec.errors import CampaignError, EngineError
from hemiec.launch.doctor import vasp as doctor_vasp
from hemiec.schemas.calculations import CalculationDoc, DftSaddleDoc
from hemiec.settings import Settings

pytestmark = [
    # monty 2026 deprecates its `cd`, which jobflow's run_locally still uses.
    pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning"),
]

NAMES = protocol_names("vasp")
FERRITE_SITES = [(0.5, 0, 0), (0, 0, 0), (0, 0.5, 0), (0.5, 0.5, 0.5), (0, 0, 0.5)]
#: Coarse meshes keep the made-up outputs small; all else is vasp-mp.
SMALL_STATIC = {"1-static": {"kpoint_density_A3": 8}}
SMALL: dict[str, Any] = {
    "name": "small",
    "parent": "vasp-mp",
    "relax": {"1-relax": {"kpoint_density_A3": 8}, "2-relax": {"kpoint_density_A3": 8}},
    "static": SMALL_STATIC,
    "gap_check": {"kpoint_density_A3": 30},
}


def vasp(name: str | dict[str, Any]) -> VaspProtocol:
    protocol = load_protocol(name)
    assert isinstance(protocol, VaspProtocol)
    return protocol


def ferrite(a: float = 3.905) -> Structure:
    """SrFeO3 with its sites in an order that VASP's is not."""
    return Structure(Lattice.cubic(a), ["O", "Fe", "O", "Sr", "O"], FERRITE_SITES)


def energy_of(structure: Structure, total_moment: float) -> float:
    """The stand-in's energy, in eV."""
    return vasp_stand_in.energy_of(len(structure), structure.volume, total_moment)


# Protocols


def test_the_shipped_protocols() -> None:
    assert NAMES == ["vasp-hse-gap", "vasp-mp", "vasp-r2scan"]
    assert [vasp(n).functional for n in NAMES] == ["HSE06", "PBE", "r2SCAN"]
    assert [vasp(n).energies for n in NAMES] == [False, True, True]
    assert all("Not measured here" in vasp(n).cost and "doi:" in vasp(n).source for n in NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"static": {"1-static": {"incar": {"ENCTU": 600}}}}, r"no tag ENCTU; did you mean 'ENCUT'"),
        ({"static": {"1-static": {"incar": {"MAGMOM": [1, 2]}}}}, "MAGMOM follows from `spin`"),
        ({"static": {"1-static": {"incar": {"LDAUU": [1, 2]}}}}, "LDAUU follows from `hubbard_u`"),
        ({"static": {"1-static": {"incar": {"KSPACING": 0.2}}}}, "either `kpoint_density_A3` or KSPACING"),
        ({"static": {"1-static": {"incar": {"LWAVE": False}}}}, "`walltime_h` needs LWAVE: true"),
        ({"barrier": "neb", "neb": None}, "`barrier: neb` needs `neb`"),
        ({"potcar": {}}, "unknown key 'potcar'; did you mean 'potcars'"),
    ],
)
def test_wrong_protocols_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        load_protocol({"name": "mine", "parent": "vasp-mp", **change})


def test_one_tag_can_be_changed_alone() -> None:
    mine = vasp({"name": "mine", "parent": "vasp-mp", "static": {"1-static": {"incar": {"ENCUT": 600}}}})
    theirs = vasp("vasp-mp")
    assert mine.static["1-static"].incar == theirs.static["1-static"].incar | {"ENCUT": 600}
    assert mine.relax == theirs.relax
    assert mine.hash != theirs.hash


@pytest.mark.parametrize("name", NAMES)
def test_open_shells_are_treated_or_refused_never_guessed(name: str) -> None:
    """POTCARs with 4f in the core (Pr_3) are right for trivalent ions; 4f in valence without U is refused."""
    protocol = vasp(name)
    lanthanides = ["Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"]
    for element in lanthanides:
        in_core = protocol.potcars[element].endswith("_3")
        assert in_core != (element in protocol.refused_elements), element
        perovskite = ferrite()
        perovskite.replace(3, element)
        if in_core:
            inputs.refuse_elements(perovskite, protocol)
        else:
            with pytest.raises(EngineError, match=f"{name} does not treat {element}.*silently wrong"):
                inputs.refuse_elements(perovskite, protocol)
    with pytest.raises(EngineError, match="no POTCAR for Pu"):
        inputs.refuse_elements(Structure(Lattice.cubic(4), ["Pu", "O"], [[0, 0, 0], [0.5] * 3]), protocol)


# Inputs beside the Materials Project's (pymatgen's sets, which read its published files)

#: Deliberate differences: tag to why. None changes a converged energy but the moments, which choose the solution.
DIFFERENCES = {
    "MAGMOM": "starts are those of `spin`: several, and none on ions that are not magnetic",
    "ISPIN": "cells without magnetic ions are computed without spin",
    "LMAXMIX": "6 always: the density is restarted from, and 4f may be there",
    "LWAVE": "restarts need the wavefunctions",
    "EDIFF": "static runs are converged to 1e-5 eV, so that magnetic solutions may be ranked",
    "NEDOS": "density of states at the Fermi level",
    "KSPACING": "always that of MP24's metals: energies of metals and insulators are on one mesh",
    "LAECHG": "files that nothing reads",
    "LVTOT": "files that nothing reads",
    "LELF": "files that nothing reads",
    "KPAR": "parallelisation",
}


def published(name: str, kind: str, structure: Structure) -> Any:
    from atomate2.vasp.flows.mp import MP24DoubleRelaxStaticMaker, MPGGADoubleRelaxStaticMaker

    flow = MPGGADoubleRelaxStaticMaker() if name == "vasp-mp" else MP24DoubleRelaxStaticMaker()
    maker = {
        "relax 1": lambda: flow.relax_maker.relax_maker1,
        "relax 2": lambda: flow.relax_maker.relax_maker2,
        "static 1": lambda: flow.static_maker,
    }[kind[: len("relax 1") if kind.startswith("relax") else len("static 1")]]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Co without an oxidation state")  # their start, not ours
        return maker.input_set_generator.get_input_set(structure, potcar_spec=True)


def written(folder: Path) -> tuple[dict[str, Any], Any, list[str]]:
    from pymatgen.io.vasp import Incar, Kpoints

    kpoints = Kpoints.from_file(folder / "KPOINTS") if (folder / "KPOINTS").is_file() else None
    return dict(Incar.from_file(folder / "INCAR")), kpoints, (folder / "POTCAR.spec").read_text().split()


def plain(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


STEPS = [
    ("vasp-mp", "relax 1-relax"),
    ("vasp-mp", "relax 2-relax"),
    ("vasp-mp", "static 1-static"),
    ("vasp-r2scan", "relax 1-pbesol"),
    ("vasp-r2scan", "relax 2-r2scan"),
    ("vasp-r2scan", "static 1-static"),
]
COMPOSITIONS = [
    ["Sr", "Fe", "O", "O", "O"],
    ["La", "Co", "O", "O", "O"],
    ["Ba", "Zr", "O", "O", "O"],
    ["Sr", "W", "F", "F", "F"],
    ["Sr", "Mn", "O", "O", "F"],
]


@pytest.mark.parametrize(("name", "kind"), STEPS)
@pytest.mark.parametrize("species", COMPOSITIONS, ids=lambda s: "".join(s))
def test_inputs_are_those_of_the_materials_project(name: str, kind: str, species: list[str], tmp_path: Path) -> None:
    structure = Structure(Lattice.orthorhombic(3.9, 4.0, 5.5), species, FERRITE_SITES)
    protocol = vasp(name)
    write_inputs(structure, protocol, dict(steps_of(protocol, "relax"))[kind], tmp_path, potcar_spec=True)
    incar, kpoints, potcars = written(tmp_path)
    theirs = published(name, kind, structure)
    assert potcars == theirs.potcar.split()
    for tag in {*incar, *theirs.incar} - set(DIFFERENCES):
        assert plain(incar.get(tag)) == plain(theirs.incar.get(tag)), tag
    if name == "vasp-mp":
        assert kpoints.kpts == theirs.kpoints.kpts
        assert kpoints.style == theirs.kpoints.style
    else:
        assert kpoints is None
        assert theirs.kpoints is None


def test_every_difference_from_the_materials_project_is_the_stated_one(tmp_path: Path) -> None:
    """The converse: each stated difference is there, with the value that its reason says."""
    structure = Structure(Lattice.cubic(3.9), ["Sr", "Fe", "O", "O", "O"], FERRITE_SITES)
    found: dict[str, set[Any]] = {}
    for name, kind in STEPS:
        protocol = vasp(name)
        folder = tmp_path / f"{name}-{kind}"
        write_inputs(structure, protocol, dict(steps_of(protocol, "relax"))[kind], folder, potcar_spec=True)
        ours, _, _ = written(folder)
        theirs = published(name, kind, structure).incar
        for tag in {*ours, *theirs}:
            if plain(ours.get(tag)) != plain(theirs.get(tag)):
                found.setdefault(tag, set()).add((name, kind.split()[0], str(ours.get(tag)), str(theirs.get(tag))))
    assert found == {
        "MAGMOM": {(n, k, "[0.0, 5.0, 0.0, 0.0, 0.0]", "[0.6, 5, 0.6, 0.6, 0.6]") for n, k in
                   {(n, k.split()[0]) for n, k in STEPS}},
        "LMAXMIX": {("vasp-mp", "relax", "6", "4"), ("vasp-mp", "static", "6", "4")},
        "LWAVE": {("vasp-mp", "relax", "True", "False"), ("vasp-mp", "static", "True", "False"),
                  ("vasp-r2scan", "static", "True", "False")},
        "EDIFF": {("vasp-mp", "static", "1e-05", "0.00025")},
        "NEDOS": {("vasp-mp", "static", "2001", "None"), ("vasp-r2scan", "static", "2001", "None")},
        "LAECHG": {("vasp-r2scan", k, "None", "True") for k in ("relax", "static")},
        "LVTOT": {("vasp-r2scan", k, "None", "True") for k in ("relax", "static")},
        "LELF": {("vasp-r2scan", "relax", "None", "False"), ("vasp-r2scan", "static", "None", "True")},
        "KPAR": {("vasp-r2scan", "static", "None", "1")},
    }  # fmt: skip


def test_hubbard_parameters_and_potcars_are_all_of_the_published_ones() -> None:
    from pymatgen.io.vasp.sets import MP24RelaxSet, MPHSERelaxSet, MPRelaxSet

    for name, theirs in (("vasp-mp", MPRelaxSet), ("vasp-r2scan", MP24RelaxSet), ("vasp-hse-gap", MPHSERelaxSet)):
        protocol = vasp(name)
        assert protocol.potcar_functional == theirs.CONFIG["POTCAR_FUNCTIONAL"]
        assert protocol.potcars.items() <= theirs.CONFIG["POTCAR"].items()
        assert set(protocol.potcars) >= {"La", "Sr", "Ba", "Ca", "Y", "Mn", "Fe", "Co", "Ni", "Ti", "Zr", "O", "F"}
    u = {element: u.value_eV for element, u in vasp("vasp-mp").hubbard_u.items()}
    assert u == MPRelaxSet.CONFIG["INCAR"]["LDAUU"]["O"] == MPRelaxSet.CONFIG["INCAR"]["LDAUU"]["F"]
    assert all(v.orbital == "d" for v in vasp("vasp-mp").hubbard_u.values())


def test_hybrid_inputs_beside_the_published_ones(tmp_path: Path) -> None:
    from pymatgen.io.vasp.sets import MPHSEBSSet

    structure = ferrite().get_sorted_structure()
    protocol = vasp("vasp-hse-gap")
    steps = dict(steps_of(protocol, "gap"))
    assert list(steps) == ["static 1-pbe", "static 2-hse"]
    write_inputs(structure, protocol, steps["static 2-hse"], tmp_path / "hse", potcar_spec=True)
    ours, kpoints, potcars = written(tmp_path / "hse")
    with pytest.warns(UserWarning, match="LASPH = True should be set"):  # theirs leaves it out, ours has it
        theirs = MPHSEBSSet(structure=structure, mode="uniform_dense").get_input_set(potcar_spec=True)
    assert potcars == theirs.potcar.split()
    different = {t for t in {*ours, *theirs.incar} if plain(ours.get(t)) != plain(theirs.incar.get(t))}
    # ICHARG 1 and SIGMA: ours goes on from wavefunctions; LREAL and EDIFF are tighter; the mesh is not reduced.
    assert different == {"MAGMOM", "LASPH", "EDIFF", "ICHARG", "LMAXMIX", "LREAL", "LWAVE", "NEDOS", "SIGMA"}
    assert (ours["LHFCALC"], ours["HFSCREEN"], "LDAU" in ours) == (True, 0.2, False)
    weights = np.array(kpoints.kpts_weights)
    dense = mesh_of(structure, steps["static 2-hse"], zero_weight=True)
    assert weights.sum() == np.prod(mesh_of(structure, steps["static 2-hse"]))
    assert (weights == 0).sum() >= np.prod(dense) / 2
    write_inputs(structure, protocol, steps["static 1-pbe"], tmp_path / "pbe", potcar_spec=True)
    first, _, _ = written(tmp_path / "pbe")
    assert "LHFCALC" not in first
    assert {t: first[t] for t in ("ENCUT", "MAGMOM", "PREC")} == {t: ours[t] for t in ("ENCUT", "MAGMOM", "PREC")}


def test_a_half_mesh_is_a_mesh_with_time_reversal() -> None:
    for divisions in ((3, 3, 3), (4, 4, 4), (2, 3, 1), (1, 1, 1)):
        points, weights = inputs._half_mesh(divisions)
        assert sum(weights) == np.prod(divisions)
        full = {tuple(np.mod(np.round(s * p * divisions).astype(int), divisions)) for p in points for s in (1, -1)}
        assert len(full) == np.prod(divisions)
        assert np.abs(points).max() <= 0.5


def test_u_is_for_oxides_and_fluorides() -> None:
    protocol = vasp("vasp-mp")
    assert inputs.uses_u(ferrite(), protocol) == {"Fe": 5.3}
    assert inputs.uses_u(Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3]), protocol) == {}


ELEMENTS = ["O", "Fe", "La", "Y", "Sr", "Ba", "Ca"]


@pytest.mark.parametrize("name", NAMES)
def test_every_run_of_every_protocol_writes_its_inputs_without_potcars(name: str, tmp_path: Path) -> None:
    protocol = vasp(name)
    high_entropy = ferrite().make_supercell([2, 2, 2], in_place=False)
    cations = [i for i, site in enumerate(high_entropy) if site.specie.symbol == "Sr"]
    for i, element in zip(cations, ELEMENTS[2:], strict=False):
        high_entropy.replace(i, element)
    kinds: list[Any] = ["relax", "static", "gap"] if protocol.relax else ["static", "gap"]
    for kind in kinds:
        for start in ("ferromagnetic", "antiferromagnetic-G", "low-spin"):
            for label, step in steps_of(protocol, kind):
                folder = tmp_path / f"{kind}-{start}-{label}"
                write_inputs(high_entropy, protocol, step, folder, start=start, potcar_spec=True)
                incar, kpoints, potcars = written(folder)
                assert len(incar["MAGMOM"]) == len(high_entropy)
                moments = {"ferromagnetic": 40.0, "antiferromagnetic-G": 0.0, "low-spin": 8.0}
                assert sum(incar["MAGMOM"]) == pytest.approx(moments[start])
                assert (kpoints is None) == ("KSPACING" in incar)
                assert sorted(potcars) == sorted(protocol.potcars[s] for s in ELEMENTS)
                assert not (folder / "POTCAR").exists()


def test_the_order_of_sites_is_undone() -> None:
    structure = ferrite()
    order = sorted_order(structure)
    prepared = prepare(structure, vasp("vasp-mp"), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert [s.specie.symbol for s in prepared] == ["Sr", "Fe", "O", "O", "O"]
    assert prepared.site_properties["magmom"] == [4.0, 2.0, 1.0, 3.0, 5.0]
    from hemiec.engines.vasp.outputs import in_order

    assert np.allclose(in_order(prepared.frac_coords, order), structure.frac_coords)


# Reading a recorded output of VASP itself


def test_a_recorded_vasprun_of_vasp_6_is_read(tmp_path: Path) -> None:
    """Diamond under 1 kB with VASP 6.3.0, recorded by ASE's developers and shipped with it; OUTCAR is made up."""
    recorded = resources.files("ase.test") / "testdata" / "vasp" / "vasprun_pstress.xml"
    (tmp_path / "vasprun.xml").write_bytes(recorded.read_bytes())
    diamond = Structure(
        Lattice([[0, 1.785, 1.785], [1.785, 0, 1.785], [1.785, 1.785, 0]]), ["C"] * 2, [[0] * 3, [0.25] * 3]
    )
    (tmp_path / "OUTCAR").write_text(
        " running on 1 total cores\n number of bands    NBANDS= 8\n total plane-waves  NPLWV = 1000\n"
        " IBRION = -1\n number of electron 8.0 magnetization 0.0\n E-fermi : 9.2\n Elapsed time (sec): 3.0\n"
    )
    result = read_result(tmp_path, diamond, sorted_order(diamond))
    text = recorded.read_text()
    assert result.vasp_version == "6.3.0"
    assert f"{result.energy:.8f}" in text
    assert result.potcars == ["PAW C 22Mar2012"]
    assert result.stress is not None
    # VASP gives the pressure with its sign reversed and in kB: this cell is compressed beyond its equilibrium.
    assert np.diag(result.stress) == pytest.approx([165.99562580 * KBAR] * 3)
    assert result.eigenvalues.shape == (1, 10, 8)
    edges = result.edges
    assert edges is not None
    assert edges.n_occupied == (4,)
    assert edges.valence_maximum == pytest.approx(np.max(result.eigenvalues[0, :, 3]))
    assert 3.5 < edges.gap < 8  # PBE 4.2 eV, this mesh misses the edges
    assert edges.direct_gap >= edges.gap
    assert result.converged_electronic


# Whole runs with the program that stands in for VASP


def made_up_potcar(name: str) -> str:
    return (
        f"  PAW_PBE {name} 01Jan2000\n   4.00000000000000\n parameters from PSCTR are:\n"
        f"   VRHFIN ={name.split('_')[0]}: made up, not a potential\n   LEXCH  = PE\n   EATOM  =     1.0000 eV\n\n"
        f"   TITEL  = PAW_PBE {name} 01Jan2000\n   POMASS =    1.000; ZVAL   =    4.000    mass and valenz\n"
        "   ENMAX  =  200.000; ENMIN  =  100.000 eV\n   END of PSCTR-controll parameters\n local part\n"
        "   1.0 2.0 3.0 4.0 5.0\n   6.0 7.0 8.0 9.0 10.0\n End of Dataset\n"
    )


@pytest.fixture
def potcars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of made-up POTCARs."""
    from pymatgen.io.vasp import inputs as pymatgen_inputs

    folder = tmp_path / "potcars"
    for functional in ("PBE", "PBE_52", "PBE_64"):
        release = folder / pymatgen_inputs.PotcarSingle.functional_dir[functional]
        release.mkdir(parents=True)
        for name in ("Sr_sv", "Fe_pv", "O", "La"):
            (release / f"POTCAR.{name}").write_text(made_up_potcar(name))
    monkeypatch.setitem(pymatgen_inputs.SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    return folder


@pytest.fixture
def stand_in(potcars: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """`vasp_stand_in.py` in place of VASP, looked at ten times a second."""
    import atomate2

    monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", f"{sys.executable} {vasp_stand_in.__file__}")
    monkeypatch.setattr(atomate2.SETTINGS, "VASP_GAMMA_CMD", f"{sys.executable} {vasp_stand_in.__file__}")
    monkeypatch.setattr(recovery, "POLLING_S", 0.1)
    monkeypatch.setattr(recovery, "MONITOR_EVERY", 2)
    return monkeypatch


def run(flow: Any, folder: Path) -> dict[str, Any] | None:
    """Run a flow in this process and return its output, None if it failed."""
    from jobflow import JobStore, run_locally
    from maggma.stores import MemoryStore

    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    folder.mkdir(exist_ok=True)
    responses = run_locally(flow, create_folders=True, root_dir=folder, store=store, log=False, raise_immediately=False)
    found = responses.get(flow.output.uuid, {})
    output = found[max(found)].output if found else None
    return None if output is None else json.loads(json.dumps(output, default=lambda o: o.as_dict()))


@pytest.mark.slow
def test_a_relaxation_ends_with_the_static_run_and_in_the_order_of_the_caller(
    stand_in: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    structure = ferrite(4.1)
    structure.translate_sites([0], [1.0, 0, -1.0], to_unit_cell=False)
    flow = VaspRelaxMaker(protocol=SMALL, start="ferromagnetic").make(structure)
    assert [job.name for job in flow.jobs] == ["relax relax 1-relax", "relax relax 2-relax", "relax static 1-static"]
    doc = CalculationDoc.model_validate(run(flow, tmp_path / "run"))
    final = Structure.from_dict(doc.structure)
    assert [s.specie.symbol for s in final] == ["O", "Fe", "O", "Sr", "O"]
    assert np.allclose(final.frac_coords, structure.frac_coords)  # in the same periodic images
    assert final.volume == pytest.approx(5 * vasp_stand_in.VOLUME_PER_ATOM)
    assert doc.energy == pytest.approx(energy_of(final, 5.0))
    assert (doc.kind, doc.converged, doc.max_force) == ("relax", True, 0.0)
    assert (doc.n_force_calls, doc.elapsed_s) == (5, 6.0)  # two, two and one ionic step; 2 s each run
    assert doc.electronic is not None
    assert doc.electronic.site_moments == doc.initial_moments == [0, 5, 0, 0, 0]
    assert doc.electronic.oxygen_2p_center == pytest.approx(vasp_stand_in.OXYGEN_2P - vasp_stand_in.FERMI)
    assert doc.electronic.dos_at_fermi_level == 0.0
    assert doc.hubbard_u == {"Fe": 5.3}
    assert doc.datasets["Fe"].startswith("PAW_PBE Fe_pv 01Jan2000")
    assert doc.versions["vasp"] == "0.0.0-stand-in"
    assert doc.protocol_hash == vasp(SMALL).hash
    assert Path(doc.files["restart"]).is_file()


def test_a_relaxation_at_fixed_cell_leaves_stress(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maker = VaspRunMaker(protocol=SMALL, kind="relax", step="relax 1-relax", relax_cell=False)
    fixed = CalculationDoc.model_validate(run(maker.make(ferrite(4.1)), tmp_path / "run"))
    assert Structure.from_dict(fixed.structure).volume == pytest.approx(4.1**3)
    assert fixed.stress is not None
    assert fixed.stress[0][0] > 0  # too large a cell pulls: tension is positive


def test_a_gap_is_looked_for_on_a_denser_mesh_too(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flow = VaspGapMaker(protocol=SMALL, start="ferromagnetic").make(ferrite())
    doc = CalculationDoc.model_validate(run(flow, tmp_path / "run"))
    assert doc.electronic is not None
    assert doc.electronic.kpoint_check is not None
    coarse, dense = doc.electronic.kpoint_mesh[0], doc.electronic.kpoint_check.kpoint_mesh[0]
    assert coarse == 3 < dense

    def expected(n: int) -> float:  # the made-up valence band has its maximum at the zone's corner
        nearest = np.abs(np.arange(n) / n - 0.5).min()
        return vasp_stand_in.GAP + 3 * vasp_stand_in.WIDTH * (1 - np.cos(2 * np.pi * nearest))

    assert expected(dense) < expected(coarse)
    assert doc.electronic.band_gap == pytest.approx(expected(dense), abs=1e-6)
    assert doc.electronic.kpoint_check.band_gap == doc.electronic.band_gap
    assert doc.electronic.direct_gap is not None
    assert doc.electronic.direct_gap > doc.electronic.band_gap
    assert len(doc.attempts) == 2
    assert doc.n_force_calls == 1  # the check is at fixed density


def test_an_earlier_run_is_reused_in_the_same_magnetic_state_alone(
    stand_in: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cell = ferrite().make_supercell([2, 1, 1], in_place=False)
    first = CalculationDoc.model_validate(
        run(VaspStaticMaker(protocol=SMALL, start="ferromagnetic").make(cell), tmp_path / "first")
    )
    for start in ("ferromagnetic", "antiferromagnetic-G"):
        flow = VaspStaticMaker(protocol=SMALL, start=start).make(cell, prev_dir=first.directory)
        doc = CalculationDoc.model_validate(run(flow, tmp_path / start))
        assert doc.directory is not None
        with gzip.open(Path(doc.directory) / "vasp.out.gz", "rt") as file:
            same = start == "ferromagnetic"
            assert file.readline() == f"starts from {['CHGCAR', 'WAVECAR'] if same else []}\n"
    gone = VaspStaticMaker(protocol=SMALL, start="ferromagnetic").make(cell, prev_dir=str(tmp_path / "gone"))
    assert run(gone, tmp_path / "missing") is None


FAILURES = {
    "crash": "ReturnCodeError.*|ValidationError.*SIGSEGV",
    "out of memory": "VASP failed",
    "no convergence": "MaxCorrectionsPerJobError",
    "nan": "not finite|VASP failed",
    "cut off": "VASP failed",
    "other potcar": "O_s",
}


@pytest.mark.parametrize("mode", sorted(FAILURES))
def test_a_run_that_goes_wrong_fails_with_its_reason_and_gives_no_value(
    stand_in: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    stand_in.setenv("HEMIEC_STAND_IN", mode)
    flow = VaspGapMaker(protocol=SMALL | {"max_corrections": 0}, start="ferromagnetic").make(ferrite())
    first = flow.jobs[0]
    (tmp_path / "run").mkdir()
    stand_in.chdir(tmp_path / "run")
    from jobflow import JobStore
    from maggma.stores import MemoryStore

    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    with pytest.raises(EngineError, match=FAILURES[mode]) as caught:
        first.run(store=store)
    assert caught.value.mend
    assert store.count() == 0
    stand_in.chdir(tmp_path)


def test_what_custodian_mends_is_recorded(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in.setenv("HEMIEC_STAND_IN", "mend")
    doc = CalculationDoc.model_validate(run(VaspStaticMaker(protocol=SMALL).make(ferrite()), tmp_path / "run"))
    failed, last = doc.attempts
    assert (failed.converged, failed.message) == (False, "zbrent")
    assert failed.settings["custodian"]  # what was changed
    assert failed.n_iterations == 3
    assert len(failed.energies) == 3
    assert failed.elapsed_s == pytest.approx(1.5)  # three electronic iterations of 0.5 s
    assert (last.converged, last.message) == (True, None)


SHORT = SMALL | {"name": "short", "walltime_h": 1 / 3600, "max_restarts": 1}


@pytest.mark.slow
@pytest.mark.parametrize("maker", [VaspRelaxMaker, VaspStaticMaker])
def test_a_run_that_reaches_its_wall_time_goes_on_from_its_wavefunctions(
    stand_in: pytest.MonkeyPatch, tmp_path: Path, maker: Any
) -> None:
    stand_in.setenv("HEMIEC_STAND_IN", "slow")  # waits to be stopped, unless it finds wavefunctions
    doc = CalculationDoc.model_validate(run(maker(protocol=SHORT).make(ferrite(4.1)), tmp_path / "run"))
    folders = sorted((tmp_path / "run").iterdir())
    assert len(folders) == (4 if maker is VaspRelaxMaker else 2)  # one more than without the limit
    assert recovery.reached_walltime(folders[0])
    assert doc.converged
    if maker is VaspStaticMaker:
        assert doc.attempts[-1].settings["restarts"] == 1
        assert (doc.n_force_calls, doc.elapsed_s) == (2, 4.0)  # both runs count
    never = maker(protocol=SHORT | {"max_restarts": 0}).make(ferrite(4.1))
    assert run(never, tmp_path / "never") is None


def path_of(cell: Structure) -> dict[str, Any]:
    """A made-up hop: images with one oxygen moved by 0, 0.4 and 0.8 angstrom, as another engine would leave them."""
    images = []
    for shift in (0.0, 0.4, 0.8):
        image = cell.copy()
        image.translate_sites([0], [0, 0, shift], frac_coords=False)
        images.append(image.as_dict())
    return {"images": images}


def test_a_barrier_is_single_points_on_a_known_path(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flow = VaspSaddleMaker(protocol=SMALL, start="ferromagnetic").make(path_of(ferrite()))
    doc = DftSaddleDoc.model_validate(run(flow, tmp_path / "run"))
    energy = energy_of(ferrite(), 5.0)  # the stand-in's energy knows nothing of positions
    assert doc.energies == pytest.approx([energy] * 3)
    assert doc.forward_barrier == pytest.approx(0.0)
    assert not doc.converged  # no saddle
    assert doc.total_moments == [5.0] * 3
    assert doc.initial_moments == [0, 5, 0, 0, 0]
    assert (doc.n_force_calls, doc.elapsed_s) == (3, 6.0)
    assert [len(a) for a in doc.attempts] == [1, 1, 1]
    assert "single points" in doc.method


def test_a_barrier_needs_comparable_energies() -> None:
    with pytest.raises(EngineError, match="gaps alone"):
        VaspSaddleMaker(protocol="vasp-hse-gap").make(path_of(ferrite()))


def test_a_failed_single_point_fails_the_barrier(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in.setenv("HEMIEC_STAND_IN", "crash")
    assert run(VaspSaddleMaker(protocol=SMALL).make(path_of(ferrite())), tmp_path / "run") is None


NEB = SMALL | {
    "name": "band",
    "barrier": "neb",
    "neb": {"n_images": 3, **{k: {"kpoint_density_A3": 8} for k in ("endpoint", "band", "image")}},
}


@pytest.mark.slow
def test_a_band_gives_the_top_to_the_single_points(stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flow = VaspSaddleMaker(protocol=NEB, start="ferromagnetic").make(path_of(ferrite()))
    doc = DftSaddleDoc.model_validate(run(flow, tmp_path / "run"))
    assert doc.n_force_calls == 2 * 2 + 3 * 2 + 3  # end points, three images of two steps, single points
    assert "climbing-image band of 3 images" in doc.method
    top = Structure.from_dict(doc.saddle)
    assert top[0].coords[2] == pytest.approx(ferrite()[0].coords[2] + 0.4)
    from pymatgen.io.vasp import Incar

    (band,) = [f for f in (tmp_path / "run").iterdir() if (f / "02").is_dir()]
    incar = Incar.from_file(band / "INCAR.gz")
    assert {k: incar[k] for k in ("IMAGES", "LCLIMB", "IBRION", "IOPT", "POTIM", "ISIF")} == {
        "IMAGES": 3, "LCLIMB": True, "IBRION": 3, "IOPT": 1, "POTIM": 0, "ISIF": 2,
    }  # fmt: skip
    assert sorted(f.name for f in band.iterdir() if f.is_dir()) == ["00", "01", "02", "03", "04"]


def test_a_band_is_laid_through_the_known_saddle() -> None:
    first, through, last = (Structure.from_dict(i) for i in path_of(ferrite())["images"])
    for n in (1, 3, 4, 5):
        frames = lay_band(first, through, last, n)
        assert len(frames) == n + 2
        heights = [f[0].coords[2] for f in frames]
        assert heights == sorted(heights)
        assert any(np.allclose(f.frac_coords, through.frac_coords) for f in frames)
        assert (frames[0], frames[-1]) == (first, last)
    wrapped = Structure(last.lattice, last.species, last.frac_coords + [[0, 0, 1.0]] * 5)
    assert np.allclose(lay_band(first, through, wrapped, 3)[-1].frac_coords, last.frac_coords)


def test_the_atom_that_hops_comes_first_of_its_element() -> None:
    first, _, last = (Structure.from_dict(i) for i in path_of(ferrite())["images"])
    order = [3, 1, 2, 4, 0]
    ends, mobile = mobile_first(*(Structure.from_sites([s[i] for i in order]) for s in (first, last)))
    assert [s.specie.symbol for s in ends[0]] == ["Sr", "Fe", "O", "O", "O"]
    assert mobile == 2
    assert np.allclose(ends[0][mobile].frac_coords, first[0].frac_coords)
    assert np.allclose(ends[1][mobile].frac_coords, last[0].frac_coords)


def test_approx_neb_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from hemiec.engines.vasp.bands import approx_neb_maker

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name.startswith("pymatgen.analysis") else real(name, *a)
    )
    with pytest.raises(EngineError, match="pymatgen-analysis-diffusion") as caught:
        approx_neb_maker(vasp(NEB), ferrite(), spin_polarised=True)
    assert "pip install" in str(caught.value.mend)


# The same through FireWorks and MongoDB


@pytest.mark.store
@pytest.mark.slow
def test_whole_runs_through_fireworks_with_a_program_that_stands_in_for_vasp(
    stand_in: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import launch_rocket
    from jobflow import SETTINGS
    from jobflow.managers.fireworks import flow_to_workflow

    from hemiec.launch.fireworks.launchpad import open_launchpad
    from hemiec.store.database import open_database

    database = open_database(settings)
    store = database.job_store()
    stand_in.setattr(SETTINGS, "JOB_STORE", store)
    launchpad = open_launchpad(database)

    def finish(flow: Any, mode: str) -> tuple[dict[str, Any] | None, list[str]]:
        """Launch the flow's jobs one by one; return the newest output and the states of its Fireworks."""
        stand_in.setenv("HEMIEC_STAND_IN", mode)
        known = set(launchpad.get_fw_ids())
        launchpad.add_wf(flow_to_workflow(flow))
        worker = FWorker(name="test")
        while launchpad.run_exists(worker):
            folder = tmp_path / f"launch-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            stand_in.chdir(folder)
            launch_rocket(launchpad, worker, strm_lvl="CRITICAL")
        stand_in.chdir(tmp_path)
        states = [fw["state"] for fw in database["fireworks"].find({"fw_id": {"$nin": list(known)}})]
        found = list(database["outputs"].find({"uuid": flow.output.uuid}).sort("index", -1))
        return (store.get_output(flow.output.uuid, load=True) if found else None), states

    try:
        relax = VaspRelaxMaker(protocol=SHORT, start="ferromagnetic").make(ferrite(4.1))
        relaxed, states = finish(relax, "slow")
        assert states == ["COMPLETED"] * 4  # one more than the chain: the first run went on as a new job
        doc = CalculationDoc.model_validate(relaxed)
        assert doc.kind == "relax"
        final = Structure.from_dict(doc.structure)
        assert final.volume == pytest.approx(5 * vasp_stand_in.VOLUME_PER_ATOM)
        gap = VaspGapMaker(protocol=SMALL, start="ferromagnetic").make(final, prev_dir=doc.directory)
        found, states = finish(gap, "")
        assert states == ["COMPLETED"] * 2
        electronic = CalculationDoc.model_validate(found).electronic
        assert electronic is not None
        assert electronic.kpoint_check is not None
        nothing, states = finish(VaspGapMaker(protocol=SMALL, start="low-spin").make(final), "crash")
        assert nothing is None
        assert states == ["FIZZLED"] * 2  # the check is not left waiting
        reasons = str(list(database["launches"].find({"state": "FIZZLED"})))
        assert "SIGSEGV" in reasons
    finally:
        launchpad.connection.close()
        store.close()
        database.close()


# hemiec doctor


def test_doctor_without_vasp(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import atomate2
    from pymatgen.core import SETTINGS

    monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", "vasp_std")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    assert doctor_vasp.check_command(settings) == "not installed (optional)"
    assert doctor_vasp.check_potcars(settings).startswith("not installed (optional)")


def test_doctor_finds_the_command(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import atomate2

    program = tmp_path / "vasp_std"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for command, said in (
        ("vasp_std", str(program)),
        ("srun -n 4 vasp_std", f"program {program}"),
        ("srun -n 4 vasp_ncl", "not on PATH here"),
    ):
        monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", command)
        assert said in doctor_vasp.check_command(settings)
    monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", "my_vasp --fast")
    with pytest.raises(EngineError, match="my_vasp is not on PATH") as caught:
        doctor_vasp.check_command(settings)
    assert "ATOMATE2_VASP_CMD" in str(caught.value.mend)


def test_doctor_looks_into_the_potcar_folder(
    settings: Settings, potcars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymatgen.core import SETTINGS

    with pytest.raises(EngineError, match=r"vasp-hse-gap: .*POT_GGA_PAW_PBE_52 lacks Ag, Al, As, Au, B and \d+ more"):
        doctor_vasp.check_potcars(settings)
    for name in ("POT_GGA_PAW_PBE_52", "POT_PAW_PBE_64"):
        for file in (potcars / name).iterdir():
            file.unlink()
        (potcars / name).rmdir()
    release = potcars / "POT_GGA_PAW_PBE"
    for n, name in enumerate(sorted(set(vasp("vasp-mp").potcars.values()))):
        if n % 2:
            (release / name).mkdir()
            (release / name / "POTCAR").write_text("")
        else:
            (release / f"POTCAR.{name}.gz").write_text("")
    said = doctor_vasp.check_potcars(settings)
    assert "vasp-mp: POT_GGA_PAW_PBE complete" in said
    assert "vasp-hse-gap: no POT_GGA_PAW_PBE_52" in said
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(potcars / "elsewhere"))
    with pytest.raises(EngineError, match="no such folder"):
        doctor_vasp.check_potcars(settings)
