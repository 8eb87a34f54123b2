"""GPAW jobs: the ladder, plateaus, restarts, gaps, relaxations and saddles, on cells of a few atoms."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Job, run_locally
from pymatgen.core import Lattice, Structure

from hemiec.engines.gpaw.calculator import atoms_of, check_elements, mixer_of, setups
from hemiec.engines.gpaw.gap import compute_gap, compute_static
from hemiec.engines.gpaw.makers import GpawGapMaker, GpawRelaxMaker, GpawSaddleMaker, GpawStaticMaker
from hemiec.engines.gpaw.plateau import drift
from hemiec.engines.gpaw.protocol import GpawAttempt, GpawProtocol
from hemiec.engines.gpaw.relax import relax
from hemiec.engines.gpaw.restart import RESTART_FILE, Owner, earlier_launch, find_restart
from hemiec.engines.gpaw.saddle import saddle_energies
from hemiec.engines.gpaw.scf import Clock, Scf, WalltimeError
from hemiec.engines.protocol import load_protocol
from hemiec.errors import CampaignError, EngineError, NotConvergedError, StructureError
from hemiec.schemas.calculations import CalculationDoc, DftSaddleDoc

#: Cheap and still converged as far as symmetries and sums go: 300 eV, the zone's 2x2x2 points.
TINY: dict[str, Any] = {
    "parent": "gpaw-standard",
    "name": "tiny",
    "cutoff_eV": 300,
    "kpoint_spacing_per_A": 1.5,
    "kpoints_gamma_centred": False,
    "check_kpoint_spacing_per_A": None,
    "band_edge_points": [],
}


def tiny(**changes: Any) -> GpawProtocol:
    protocol = load_protocol(TINY | changes)
    assert isinstance(protocol, GpawProtocol)
    return protocol


def rock_salt(cation: str = "Mg", a: float = 4.25) -> Structure:
    vectors = [[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]]
    return Structure(Lattice(vectors), [cation, "O"], [(0, 0, 0), (0.5, 0.5, 0.5)])


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What is refused before anything runs


def test_open_shells_are_refused_by_name() -> None:
    protocol = load_protocol("gpaw-fast")
    assert isinstance(protocol, GpawProtocol)
    check_elements(["La", "Lu", "Ce", "Y", "Co", "O"], protocol)
    with pytest.raises(EngineError, match=r"gpaw-fast does not treat Nd, Pr: the open 4f shell"):
        check_elements(["Pr", "Nd", "La", "Nd", "O"], protocol)


def test_a_users_protocol_may_treat_an_open_shell() -> None:
    protocol = tiny(refused_elements=["Pr"], hubbard_u={"Nd": {"orbital": "f", "value_eV": 6.0}})
    check_elements(["Nd", "Ni", "O"], protocol)
    assert setups(["Nd", "O"], protocol) == {"Nd": ":f,6.0"}
    with pytest.raises(EngineError, match="does not treat Pr"):
        check_elements(["Pr"], protocol)


def test_u_on_a_shell_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineError, match="U on Mg f, but its PAW dataset has no valence f states"):
        check_elements(["Mg", "O"], tiny(hubbard_u={"Mg": {"orbital": "f", "value_eV": 5.0}}))


@pytest.mark.parametrize("key", ["hubbard_u", "moments", "datasets"])
def test_misspelt_elements_are_refused(key: str) -> None:
    wrong: dict[str, Any] = {
        "hubbard_u": {"hubbard_u": {"Fee": {"orbital": "d", "value_eV": 5.3}}},
        "moments": {"spin": {"moments": {"Fee": {"high": 4.5}}}},
        "datasets": {"datasets": {"Fee": "paw"}},
    }[key]
    with pytest.raises(CampaignError, match="no such element: Fee"):
        tiny(**wrong)


def test_a_missing_dataset_names_the_element_and_the_cure() -> None:
    with pytest.raises(EngineError, match=r"no PAW dataset U\.PBE for GPAW\. Mend: .*gpaw install-data"):
        check_elements(["U", "O"], tiny())
    with pytest.raises(EngineError, match=r"no PAW dataset O\.other\.PBE"):
        check_elements(["O"], tiny(datasets={"O": "other"}))


def test_without_gpaw_the_message_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(EngineError, match=r"GPAW is not installed\. Mend: run `make setup`"):
        compute_gap(rock_salt(), tiny())


def test_nothing_is_started_for_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not treat Nd"):
        compute_gap(rock_salt("Nd"), tiny())
    with pytest.raises(EngineError, match="gpaw-fast is for gaps: at 400 eV its energies mean nothing"):
        compute_static(rock_salt(), load_protocol("gpaw-fast"))  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="does not relax structures"):
        relax(rock_salt(), tiny(relax=None), relax_cell=True)
    assert not list(tmp_path.iterdir())


def test_makers_take_gpaw_protocols_only() -> None:
    for maker in (GpawRelaxMaker, GpawStaticMaker, GpawGapMaker):
        with pytest.raises(CampaignError, match="'mlip-chgnet'"):
            maker(protocol="mlip-chgnet").make.original(maker(protocol="mlip-chgnet"), rock_salt())


def test_multi_gives_way_without_two_spins() -> None:
    multi = GpawAttempt(mixer={"name": "multi"}, smearing_eV=0.1, max_iterations=9)
    assert mixer_of(multi, spin_polarised=True) == {"name": "multi"}
    assert mixer_of(multi, spin_polarised=False) == {"name": "msr1"}
    pulay = GpawAttempt(mixer={"name": "pulay", "beta": 0.05}, smearing_eV=0.1, max_iterations=9)
    assert mixer_of(pulay, spin_polarised=False) == {"name": "pulay", "beta": 0.05}


# Plateaus


def series(ratio: float, last_step: float, n: int = 12) -> list[float]:
    """Return energies whose changes shrink by ``ratio`` down to ``last_step``, in eV."""
    steps = last_step * ratio ** np.arange(-n + 1, 1)
    return list(np.cumsum(-steps))


def test_a_converging_cycle_does_not_drift() -> None:
    assert drift(series(0.3, 1e-4), 1e-3) is None
    assert drift(series(0.5, 5e-4), 1e-3) is None
    assert drift([0, 1e-3, -1e-3, 1e-3, -1e-3, 1e-3], 1e-4) is None  # rattles about its mean


def test_a_slow_slide_is_a_plateau() -> None:
    # 5e-4 eV per step is within the criterion of 1.5e-3 eV over three, yet 50 meV are still to come.
    slide = series(0.99, 5e-4)
    assert max(slide[-3:]) - min(slide[-3:]) < 1.5e-3
    message = drift(slide, 1.5e-3)
    assert message is not None
    assert "plateau" in message
    assert drift([-e for e in slide], 1.5e-3) is not None
    assert drift(series(1.0, 1e-3), 1e-3) is not None


def test_the_noise_of_a_finished_cycle_is_no_plateau() -> None:
    assert drift(series(1.0, 1e-6), 1e-3) is None
    assert drift(series(0.99, 1.0)[:3], 1e-3) is None  # too few iterations to tell


# A real gap, looked at from many sides


@pytest.fixture(scope="module")
def magnesia(tmp_path_factory: pytest.TempPathFactory) -> CalculationDoc:
    """The gap of MgO on the coarse shifted mesh, checked on a Gamma-centred one."""
    return compute_gap(rock_salt(), tiny(check_kpoint_spacing_per_A=1.0), folder=tmp_path_factory.mktemp("magnesia"))


@pytest.fixture(scope="module")
def magnesia_unchecked(tmp_path_factory: pytest.TempPathFactory) -> CalculationDoc:
    """Energy, forces and stress of the same cell; the gap is that of the shifted mesh alone."""
    return compute_static(rock_salt(), tiny(), with_stress=True, folder=tmp_path_factory.mktemp("static"))


@pytest.mark.gpaw
def test_the_denser_mesh_finds_the_gap_that_the_coarse_one_missed(
    magnesia: CalculationDoc, magnesia_unchecked: CalculationDoc
) -> None:
    checked, coarse = magnesia.electronic, magnesia_unchecked.electronic
    assert checked is not None
    assert coarse is not None
    assert checked.kpoint_check is not None
    # MgO has its gap at the zone centre, which the shifted mesh does not hold.
    assert checked.band_gap < coarse.band_gap - 1
    assert checked.band_gap == checked.kpoint_check.band_gap == pytest.approx(4.1, abs=0.6)
    assert checked.kpoint_check.kpoint_mesh == [3, 3, 3]
    assert coarse.kpoint_check is None
    assert checked.kpoint_mesh == coarse.kpoint_mesh == [2, 2, 2]
    assert magnesia.energy == pytest.approx(magnesia_unchecked.energy, abs=1e-3)


@pytest.mark.gpaw
def test_the_document_of_an_insulator_is_whole(magnesia: CalculationDoc) -> None:
    electronic = magnesia.electronic
    assert electronic is not None
    assert not electronic.is_metal
    assert electronic.conduction_band_minimum - electronic.valence_band_maximum == pytest.approx(electronic.band_gap)  # type: ignore[operator]
    assert electronic.direct_gap >= electronic.band_gap  # type: ignore[operator]
    assert electronic.dos_at_fermi_level == pytest.approx(0, abs=1e-6)
    assert electronic.oxygen_2p_center is not None
    assert electronic.oxygen_2p_center < 1
    assert not electronic.spin_polarised
    assert electronic.site_moments == [0.0, 0.0]
    assert (magnesia.kind, magnesia.magnetic_start, magnesia.forces) == ("gap", None, None)
    assert magnesia.initial_moments == [0.0, 0.0]
    assert magnesia.hubbard_u == {}
    assert magnesia.cutoff_eV == 300
    assert set(magnesia.datasets) == {"Mg", "O"}
    assert set(magnesia.versions) == {"hemiec", "gpaw", "gpaw-data", "ase", "atomate2"}
    assert Structure.from_dict(magnesia.structure) == rock_salt()
    assert all(Path(path).is_file() for path in magnesia.files.values())
    plain = json.loads(json.dumps(magnesia.to_mongo()))
    assert CalculationDoc.model_validate(plain).to_mongo() == plain


@pytest.mark.gpaw
def test_the_attempt_records_every_iteration(magnesia: CalculationDoc) -> None:
    (attempt,) = magnesia.attempts
    assert attempt.converged
    assert attempt.n_iterations == len(attempt.energies) > 3
    # The last iteration's energy is the result.
    assert attempt.energies[-1] == pytest.approx(magnesia.energy, abs=1e-8)
    assert attempt.settings["start"] == "atomic densities"
    assert attempt.settings["mixer"] == {"name": "msr1"}


@pytest.mark.gpaw
def test_symmetry_of_forces_and_stress(magnesia_unchecked: CalculationDoc) -> None:
    assert np.abs(magnesia_unchecked.forces).max() < 1e-6  # type: ignore[arg-type]
    stress = np.array(magnesia_unchecked.stress)
    assert stress == pytest.approx(stress[0, 0] * np.eye(3), abs=1e-6)
    assert magnesia_unchecked.energy_per_atom == magnesia_unchecked.energy / 2


@pytest.mark.gpaw
def test_a_gap_goes_on_from_the_density_of_a_static_calculation(
    magnesia: CalculationDoc, magnesia_unchecked: CalculationDoc, tmp_path: Path
) -> None:
    previous = Path(magnesia_unchecked.files["restart"]).parent
    doc = compute_gap(rock_salt(), tiny(), folder=tmp_path, previous=previous)
    (attempt,) = doc.attempts
    assert attempt.settings["start"] == magnesia_unchecked.files["restart"]
    assert attempt.n_iterations < magnesia.attempts[0].n_iterations  # type: ignore[operator]
    assert doc.energy == pytest.approx(magnesia_unchecked.energy, abs=1e-3)


# Spin


@pytest.mark.gpaw
def test_nickel_oxide_has_its_moment_and_u(nickel_oxide: CalculationDoc, tmp_path: Path) -> None:
    electronic = nickel_oxide.electronic
    assert electronic is not None
    assert electronic.spin_polarised
    assert electronic.total_moment == pytest.approx(2, abs=0.01)  # d8 in an octahedron; an insulator's is whole
    assert electronic.site_moments[0] == pytest.approx(1.8, abs=0.2)
    assert nickel_oxide.hubbard_u == {"Ni": 6.2}
    assert (nickel_oxide.magnetic_start, nickel_oxide.initial_moments) == ("ferromagnetic", [2.0, 0.0])
    previous = Path(nickel_oxide.files["restart"]).parent
    plain = static_nickel_oxide(tmp_path, start="nonmagnetic", previous=previous)
    assert plain.electronic is not None
    assert not plain.electronic.spin_polarised
    assert plain.energy > nickel_oxide.energy + 0.5
    # The density of the magnetic run was offered and told apart.
    assert "not used, it belongs to another calculation" in plain.attempts[0].settings["notes"][0]


@pytest.mark.gpaw
@pytest.mark.slow
def test_the_gap_of_strontium_titanate() -> None:
    sites = [(0.5, 0.5, 0.5), (0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    srtio3 = Structure(Lattice.cubic(3.905), ["Sr", "Ti", "O", "O", "O"], sites)
    protocol = load_protocol("gpaw-standard")
    assert isinstance(protocol, GpawProtocol)
    doc = compute_gap(srtio3, protocol)
    electronic = doc.electronic
    assert electronic is not None
    assert electronic.band_gap == pytest.approx(1.90, abs=0.05)  # values.json: PBE, indirect
    assert electronic.direct_gap > electronic.band_gap + 0.2  # type: ignore[operator]
    assert electronic.kpoint_mesh == [4, 4, 4]
    assert electronic.kpoint_check is not None
    assert electronic.kpoint_check.kpoint_mesh == [6, 6, 6]
    assert -4 < electronic.oxygen_2p_center < 0  # type: ignore[operator]
    assert doc.hubbard_u == {}


# The ladder


LADDER = [
    {"mixer": {"name": "pulay", "beta": 0.02}, "smearing_eV": 0.1, "max_iterations": 2},
    {"mixer": {"name": "msr1"}, "smearing_eV": 0.2, "max_iterations": 60},
]


@pytest.mark.gpaw
def test_the_second_rung_is_tried_and_both_are_recorded() -> None:
    doc = compute_static(rock_salt(), tiny(attempts=LADDER))
    first, second = doc.attempts
    assert (first.converged, second.converged) == (False, True)
    assert (first.n_iterations, first.message) == (2, "criteria not met")
    assert second.settings["notes"] == ["smearing 0.2 eV, the first attempt had 0.1 eV"]
    assert doc.electronic is not None
    assert doc.electronic.smearing_eV == 0.2
    assert Path(doc.files["output"]).name == "gpaw-2.txt"  # the failed attempt's output is kept
    assert Path("gpaw.txt").is_file()


@pytest.mark.gpaw
def test_without_convergence_there_is_no_value() -> None:
    short = [LADDER[0], LADDER[1] | {"max_iterations": 3}]
    with pytest.raises(
        NotConvergedError,
        match=r"SCF did not converge \(pulay .*after 2 iterations; msr1 .*after 3 iterations\)\. Mend: .*gpaw-2\.txt",
    ):
        compute_static(rock_salt(), tiny(attempts=short))


@pytest.mark.gpaw
def test_a_breakdown_is_an_engine_error_that_names_the_output() -> None:
    clash = rock_salt()
    clash.translate_sites([1], [-0.499, -0.499, -0.499])
    with pytest.raises(EngineError, match=r"GPAW failed in every attempt .*Mend: see .*gpaw-2\.txt") as caught:
        compute_static(clash, tiny())
    assert not isinstance(caught.value, NotConvergedError)


def test_settings_that_gpaw_does_not_take_name_the_protocol() -> None:
    wrong = tiny(attempts=[{"mixer": {"name": "nonsense"}, "smearing_eV": 0.1, "max_iterations": 5}])
    with pytest.raises(EngineError, match="protocol tiny: GPAW does not take its settings"):
        compute_static(rock_salt(), wrong)


@pytest.mark.gpaw
def test_memory_and_nan_are_failures_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        """A calculator that ends as GPAW does when memory or numbers give out."""

        old = False

        def __init__(self, energies: list[float]) -> None:
            self.energies = energies

        def iconverge(self, atoms: Any) -> Iterator[Any]:
            if not self.energies:
                raise MemoryError
            for energy in self.energies:
                totals = type("Energies", (), {"total_extrapolated": energy})
                yield type("Step", (), {"energies": totals})

    for energies, message in (([], "ran out of memory"), ([-1.0, float("nan")], r"the energy is nan\) after 1 iter")):
        monkeypatch.setattr("hemiec.engines.gpaw.scf.build_calculator", lambda *_, e=energies, **__: Broken(e))
        with pytest.raises(EngineError, match=message):
            compute_static(rock_salt(), tiny())


# Restarts


class CountedClock(Clock):
    """A clock whose time is over after some looks at it: one per SCF iteration."""

    def __init__(self, looks: int) -> None:
        super().__init__(1.0)
        self.looks = looks

    @property
    def expired(self) -> bool:
        self.looks -= 1
        return self.looks <= 0


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a static calculation of NiO whose time was over after six iterations."""
    folder = tmp_path_factory.mktemp("stopped")
    scf = Scf(rock_salt("Ni", 4.2), tiny(walltime_h=1.0), [2.0, 0.0], folder=folder)
    scf.clock = CountedClock(6)
    with pytest.raises(WalltimeError, match=rf"reached the walltime of 1.0 h; the density is in {folder}/restart.gpw"):
        scf.solve(scf.atoms())
    return folder


@pytest.fixture
def interrupted(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be worked in."""
    return Path(shutil.copytree(stopped, tmp_path / "interrupted"))


@pytest.fixture(scope="module")
def nickel_oxide(tmp_path_factory: pytest.TempPathFactory) -> CalculationDoc:
    """The same calculation in one go."""
    return static_nickel_oxide(tmp_path_factory.mktemp("nickel-oxide"))


def static_nickel_oxide(folder: Path, **options: Any) -> CalculationDoc:
    return compute_static(rock_salt("Ni", 4.2), tiny(walltime_h=1.0), folder=folder, **options)


@pytest.mark.gpaw
def test_a_calculation_stopped_at_its_walltime_goes_on(
    nickel_oxide: CalculationDoc, interrupted: Path, tmp_path: Path
) -> None:
    elsewhere = static_nickel_oxide(tmp_path, previous=interrupted)
    again = static_nickel_oxide(interrupted)
    for doc in (elsewhere, again):
        (attempt,), (whole,) = doc.attempts, nickel_oxide.attempts
        assert attempt.settings["start"] == str(interrupted / RESTART_FILE)
        assert attempt.n_iterations < whole.n_iterations  # type: ignore[operator]
        # From the density that six iterations left, the energy begins near its end.
        assert abs(attempt.energies[0] - nickel_oxide.energy) < 0.2 * abs(whole.energies[0] - nickel_oxide.energy)
        assert doc.energy == pytest.approx(nickel_oxide.energy, abs=1e-3)
        assert doc.electronic is not None
        assert doc.electronic.total_moment == pytest.approx(2, abs=0.01)


@pytest.mark.gpaw
def test_a_restart_cut_off_while_written_is_not_used(interrupted: Path) -> None:
    file = interrupted / RESTART_FILE
    file.write_bytes(file.read_bytes()[:-1000])
    doc = static_nickel_oxide(interrupted)
    assert doc.attempts[0].settings["start"] == "atomic densities"
    assert doc.attempts[0].settings["notes"] == [f"{file}: not used, it is damaged or was cut off while it was written"]


@pytest.mark.gpaw
def test_restarts_belong_to_one_calculation(interrupted: Path) -> None:
    owner = Owner(tiny(walltime_h=1.0).hash, True, ["Ni", "O"], [2.0, 0.0])
    restart, note = find_restart(interrupted, owner)
    assert note is None
    assert restart is not None
    assert restart.fits(atoms_of(rock_salt("Ni", 4.2), [2.0, 0.0]))
    assert not restart.fits(atoms_of(rock_salt("Ni", 4.21), [2.0, 0.0]))
    for other, name in (
        (Owner("0" * 12, True, ["Ni", "O"], [2.0, 0.0]), "protocol_hash"),
        (Owner(owner.protocol_hash, True, ["Ni", "O"], [-2.0, 0.0]), "moments"),
    ):
        restart, note = find_restart(interrupted, other)
        assert restart is None
        assert note is not None
        assert note.endswith(f"another calculation ({name} differ)")
    (interrupted / "restart.json").write_text("{")
    restart, note = find_restart(interrupted, owner)
    assert restart is None
    assert note is not None
    assert "description is damaged" in note
    assert find_restart(interrupted / "nowhere", owner) == (None, None)


# Relaxations


@pytest.mark.gpaw
def test_a_relaxation_finds_the_symmetric_minimum(tmp_path: Path) -> None:
    shaken = rock_salt(a=4.1)
    shaken.translate_sites([0], [0.02, 0.01, 0.0])
    doc = relax(shaken, tiny(kpoint_spacing_per_A=2.0), relax_cell=False)
    assert doc.converged
    assert doc.max_force < 0.05  # type: ignore[operator]
    assert doc.stress is None
    final = Structure.from_dict(doc.structure)
    assert final.lattice == shaken.lattice
    assert np.mod(final.frac_coords[1] - final.frac_coords[0], 1) == pytest.approx(0.5, abs=5e-3)
    # atomate2 puts the last geometry down twice.
    assert doc.n_force_calls == len(doc.trajectory["energy"]) - 1 > 1  # type: ignore[index]
    assert doc.trajectory["energy"][-1] == pytest.approx(doc.energy)  # type: ignore[index]
    assert doc.trajectory["energy"][0] > doc.energy  # type: ignore[index]


@pytest.mark.gpaw
def test_a_relaxation_goes_on_after_its_walltime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = tiny(kpoint_spacing_per_A=2.0, walltime_h=1.0)
    with monkeypatch.context() as patch:
        patch.setattr("hemiec.engines.gpaw.scf.Clock", lambda _: CountedClock(14))
        with pytest.raises(WalltimeError):
            relax(rock_salt(a=4.0), protocol, relax_cell=True)
    reached = np.array(json.loads((tmp_path / "restart.json").read_text())["cell"])
    assert np.abs(reached - rock_salt(a=4.0).lattice.matrix).max() > 0.01  # it was under way
    doc = relax(rock_salt(a=4.0), protocol, relax_cell=True)
    assert doc.converged
    assert doc.trajectory["lattice"][0] == pytest.approx(reached)  # type: ignore[index]
    assert np.abs(doc.stress).max() < 0.01  # type: ignore[arg-type]
    assert Path(doc.files["trajectory"]).name == "relax-2.traj"
    # Another structure in the same folder starts from its own geometry.
    with monkeypatch.context() as patch:
        patch.setattr("hemiec.engines.gpaw.scf.Clock", lambda _: CountedClock(2))
        with pytest.raises(WalltimeError):
            relax(rock_salt(a=4.3), protocol, relax_cell=True)
    assert json.loads((tmp_path / "restart.json").read_text())["cell"] == rock_salt(a=4.3).lattice.matrix.tolist()


# Saddles


def hop() -> list[Structure]:
    """Three images of an oxygen atom that hops between the two equal sites of a strained cell."""
    cell = Structure(Lattice.tetragonal(3.0, 5.6), ["Mg", "O"], [(0, 0, 0), (0, 0, 0.36)])
    images = [cell.copy() for _ in range(3)]
    images[1].translate_sites([1], [0.0, 0.0, 0.14])
    images[2].translate_sites([1], [0.0, 0.0, 0.28])
    return images


@pytest.mark.gpaw
def test_a_symmetric_hop_has_equal_barriers() -> None:
    doc = saddle_energies(hop(), tiny(kpoint_spacing_per_A=2.0))
    assert doc.forward_barrier == pytest.approx(doc.reverse_barrier, abs=5e-3)
    assert doc.energies[1] - doc.energies[0] == pytest.approx(doc.forward_barrier)
    assert doc.converged == (doc.forward_barrier > 0)
    assert doc.force_along_path == pytest.approx(0, abs=0.02)  # by symmetry
    assert doc.max_force_at_saddle == pytest.approx(doc.max_force_across_path, abs=0.02)
    assert (doc.n_force_calls, doc.n_saddle_steps, doc.saddle_relaxed) == (3, 0, None)
    assert [len(a) for a in doc.attempts] == [1, 1, 1]
    assert doc.attempts[0][0].settings["start"] == "atomic densities"
    assert doc.attempts[2][0].settings["start"] == "the solution before"
    assert DftSaddleDoc.model_validate(doc.to_mongo()).to_mongo() == doc.to_mongo()


@pytest.mark.gpaw
def test_the_saddle_is_followed_on_by_dft(tmp_path: Path) -> None:
    images = hop()
    images[1].translate_sites([1], [0.0, 0.0, -0.02])  # off the saddle along the path
    doc = saddle_energies(images, tiny(kpoint_spacing_per_A=2.0, saddle_steps=1))
    assert doc.n_saddle_steps == 1
    assert doc.n_force_calls > 3 + doc.n_saddle_steps
    assert doc.saddle_relaxed is not None
    moved = Structure.from_dict(doc.saddle)
    assert moved.distance_matrix[0, 1] != pytest.approx(images[1].distance_matrix[0, 1], abs=1e-4)


def test_paths_of_other_atoms_are_refused() -> None:
    images = hop()
    with pytest.raises(StructureError, match=r"a path has 3 images .*got 2"):
        saddle_energies(images[:2], tiny())
    images[1].replace(0, "Ca")
    with pytest.raises(StructureError, match="different atoms, another order or other cells"):
        saddle_energies(images, tiny())


# As jobs


def result(job: Job) -> dict[str, Any]:
    return dict(run_locally(job, ensure_success=True, log=False)[job.uuid][1].output)


# jobflow 0.x changes folders with a function that monty is going to drop.
@pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning")
@pytest.mark.gpaw
def test_jobs_carry_users_protocols_and_start_from_earlier_folders(tmp_path: Path) -> None:
    protocol = tiny(kpoint_spacing_per_A=2.0)
    static = GpawStaticMaker(protocol=protocol.reference, stress=True).make(rock_salt())
    saddle = GpawSaddleMaker(protocol=protocol.reference).make({"images": [i.as_dict() for i in hop()]})
    doc = CalculationDoc.model_validate(result(static))
    assert doc.protocol == "tiny"
    assert doc.stress is not None
    assert DftSaddleDoc.model_validate(result(saddle)).protocol_hash == doc.protocol_hash
    gap = GpawGapMaker(protocol=protocol.reference).make(rock_salt(), None, str(Path(doc.files["restart"]).parent))
    assert CalculationDoc.model_validate(result(gap)).kind == "gap"


def test_a_job_that_runs_again_finds_what_its_lost_launch_left(tmp_path: Path) -> None:
    assert earlier_launch(tmp_path) is None
    folders = [tmp_path / name for name in ("first", "lost", "plateau", "cleaned")]
    for folder in folders:
        folder.mkdir()
    for folder in folders[:3]:
        (folder / RESTART_FILE).touch()
    actions: list[Any] = [None, None, {"stored_data": {"_exception": {"_stacktrace": "NotConvergedError: x"}}}, None]
    launches = [
        {"launch_id": n + 1, "launch_dir": str(folder), "action": action}
        for n, (folder, action) in enumerate(zip(folders, actions, strict=True))
    ]
    (tmp_path / "FW.json").write_text(json.dumps({"archived_launches": launches}))
    assert earlier_launch(tmp_path) == folders[1]
    (tmp_path / "FW.json").write_text("{")
    assert earlier_launch(tmp_path) is None
