"""Diffusion from trajectories: known walks give their D, bounded motion gives none, a killed run goes on its way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from hemiec.engines.mlip.dynamics import CHECKPOINT_FILE, Run, run_nvt, supercell_with_vacancies
from hemiec.errors import EngineError, InputError, NotConvergedError, StructureError
from hemiec.schemas.dynamics import DynamicsDoc, DynamicsSettings
from hemiec.schemas.transport import HopNetworkDoc, NetworkDoc
from hemiec.transport.dynamics.arrhenius import fit_arrhenius
from hemiec.transport.dynamics.trajectories import IonTrajectory, count_hops, ion_diffusion, relative_to
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.network import HopNetwork, undirected
from hemiec.units import BOLTZMANN_EV_PER_K
from hemiec.workflows.dynamics import DiffusionFromDynamicsMaker, DynamicsMaker, analyse, arrhenius_doc

EDGE = 2.8
TEMPERATURE = 1000.0
#: Tracer correlation factor of a vacancy on the simple cubic lattice (doi:10.1103/PhysRevB.22.2024).
SIMPLE_CUBIC_F = 0.6531


def cubic_network(n: int) -> HopNetwork:
    """Return the simple cubic lattice of n^3 sites."""
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    number = {tuple(site): k for k, site in enumerate(grid.tolist())}
    start, end, image = [], [], []
    for k, site in enumerate(grid):
        for axis in range(3):
            there = site + np.eye(3, dtype=int)[axis]
            start.append(k)
            end.append(number[tuple((there % n).tolist())])
            image.append(there // n)
    hops = undirected(np.array(start), np.array(end), np.array(image))
    return HopNetwork(np.eye(3) * n * EDGE, grid / n, *hops)


def walk(
    network: HopNetwork, sites: np.ndarray, saddles: np.ndarray, *, time_ps: float, interval_ps: float, seed: int
) -> IonTrajectory:
    """Return the ions of a cell in which one vacancy walks in continuous time, with vibrations of 0.1 angstrom."""
    rng, kT = np.random.default_rng(seed), BOLTZMANN_EV_PER_K * TEMPERATURE
    ways: list[list[tuple[int, float, np.ndarray]]] = [[] for _ in range(network.n_sites)]
    for h, (a, b) in enumerate(zip(network.start, network.end, strict=True)):
        ways[a].append((int(b), 10 * np.exp(-(saddles[h] - sites[a]) / kT), network.displacements[h]))
        ways[b].append((int(a), 10 * np.exp(-(saddles[h] - sites[b]) / kT), -network.displacements[h]))
    chances = np.exp(-np.asarray(sites) / kT)
    vacant = int(rng.choice(network.n_sites, p=chances / chances.sum()))
    ion_on = np.arange(network.n_sites)
    positions = network.frac_coords @ network.lattice
    kept = np.delete(ion_on, vacant)
    frames, clock = [], 0.0
    for n in range(int(time_ps / interval_ps) + 1):
        while clock < n * interval_ps:
            rates = np.array([rate for _, rate, _ in ways[vacant]])
            clock += rng.exponential(1 / rates.sum())
            there, _, step = ways[vacant][rng.choice(len(rates), p=rates / rates.sum())]
            positions[ion_on[there]] -= step
            ion_on[vacant], vacant = ion_on[there], there
        frames.append(positions[kept])
    noisy = np.array(frames) + rng.normal(scale=0.1, size=(len(frames), len(kept), 3))
    return IonTrajectory(noisy, interval_ps, network.lattice, network.frac_coords)


def uniform(network: HopNetwork, barrier: float) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(network.n_sites), np.full(network.n_hops, barrier)


@pytest.mark.slow
def test_intervals_of_a_lattice_walk_hold_the_exact_diffusivity() -> None:
    network = cubic_network(3)
    sites, saddles = uniform(network, 0.35)
    exact = diffusion(network, sites, saddles, TEMPERATURE).d
    found = [
        ion_diffusion(walk(network, sites, saddles, time_ps=80, interval_ps=0.05, seed=s), seed=s) for s in range(6)
    ]
    # 83 hops each. Of 12 intervals of 90 %, 8 or more hold the truth with a probability of 0.996.
    tracer = exact * SIMPLE_CUBIC_F / (network.n_sites - 1)
    held = [_holds(of.vacancy, exact) for of in found] + [_holds(of.tracer, tracer) for of in found]
    assert sum(held) >= 8
    assert np.mean([of.vacancy.value for of in found if of.vacancy.value]) == pytest.approx(exact, rel=0.25)
    # An interval that always holds may be too wide: a hundred hops know D to 20 % or so.
    widths = [np.log(of.tracer.interval[1] / of.tracer.interval[0]) for of in found if of.tracer.interval]
    assert len(widths) >= 5
    assert np.median(widths) < 1.0


def _holds(found: object, exact: float) -> bool:
    low, high = found.interval or (0.0, found.upper_bound)  # type: ignore[attr-defined]
    return bool(low < exact < high)


@pytest.mark.slow
def test_disordered_walk_has_the_diffusivity_of_its_network() -> None:
    network, rng = cubic_network(3), np.random.default_rng(5)
    sites = rng.normal(scale=0.08, size=network.n_sites)
    saddles = 0.35 + rng.normal(scale=0.08, size=network.n_hops)
    exact = diffusion(network, sites, saddles, TEMPERATURE)
    run = walk(network, sites, saddles, time_ps=1200, interval_ps=0.25, seed=1)
    found = ion_diffusion(run).vacancy
    assert found.interval is not None
    assert found.interval[0] < exact.d < found.interval[1]
    assert found.interval[1] / found.interval[0] < 3
    # The random state of the program is as it was: kinisi draws from it.
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    assert ion_diffusion(run).vacancy == found
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_vibrations_are_no_diffusion() -> None:
    """Overdamped motion in a harmonic well (Ornstein-Uhlenbeck) is bounded: no hops, no value, a bound."""
    network, rng = cubic_network(3), np.random.default_rng(0)
    positions = np.zeros((2000, network.n_sites - 1, 3))
    for n in range(1, len(positions)):
        positions[n] = 0.9 * positions[n - 1] + rng.normal(scale=0.1, size=positions.shape[1:])
    positions += (network.frac_coords @ network.lattice)[1:]
    found = ion_diffusion(IonTrajectory(positions, 0.05, network.lattice, network.frac_coords))
    assert found.n_hops == 0
    assert found.vacancy.value is None
    assert found.vacancy.reason == "no diffusion seen within 99.95 ps, a value needs 10"
    # With no hop seen, the rate is below 3 per run with 95 %: 1 - exp(-3) = 0.95.
    assert found.vacancy.upper_bound == pytest.approx(3.0 * EDGE**2 / (6 * 99.95) * 1e-4, rel=2e-3)
    assert found.tracer.upper_bound == pytest.approx(found.vacancy.upper_bound / 26)


def test_hops_back_and_forth_are_no_diffusion() -> None:
    network = cubic_network(3)
    saddles = np.full(network.n_hops, 3.0)
    saddles[0] = 0.25  # one pair of sites that exchange the vacancy, and no way on
    sites = np.zeros(network.n_sites)
    sites[[network.start[0], network.end[0]]] = -1.5
    run = walk(network, sites, saddles - 1.5 * (saddles < 1), time_ps=100, interval_ps=0.05, seed=0)
    found = ion_diffusion(run)
    assert found.n_hops > 30
    assert found.vacancy.value is None
    assert "does not grow" in (found.vacancy.reason or "")
    hopping_freely = found.n_hops * EDGE**2 / (6 * 100) * 1e-4
    assert found.vacancy.upper_bound is not None
    assert found.vacancy.upper_bound < hopping_freely / 3


def test_hops_are_counted_across_the_cell_and_in_a_skew_one() -> None:
    lattice = np.array([[4.0, 0, 0], [3.0, 3.0, 0], [1.0, 1.0, 5.0]])
    sites = np.array([[0.02, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]])
    hop = np.linspace(0, 1, 5)[:, None] * (np.array([1.02, 0, 0]) - sites[1]) @ lattice
    path = (
        np.concatenate([np.zeros((3, 3)), hop, hop[-1:], hop[-1:] + np.array([0.8, 0, 0]), hop[-1:]])
        + sites[1] @ lattice
    )
    still = np.broadcast_to(sites[2] @ lattice, path.shape)
    assert count_hops(IonTrajectory(np.stack([path, still], axis=1), 1.0, lattice, sites)) == 1


def test_drift_of_the_framework_is_taken_away() -> None:
    rng, drift = np.random.default_rng(0), np.linspace(0, 7, 50)[:, None, None]
    ions, framework = rng.normal(size=(50, 2, 3)), np.zeros((50, 4, 3))
    assert relative_to(ions + drift, framework + drift) == pytest.approx(ions)
    assert relative_to(ions, framework[:, :0]) is ions


def test_bad_trajectories_are_refused() -> None:
    network = cubic_network(3)
    full = np.zeros((200, 27, 3))
    with pytest.raises(StructureError, match="leave none vacant"):
        IonTrajectory(full, 0.1, network.lattice, network.frac_coords)
    with pytest.raises(InputError, match="shape"):
        IonTrajectory(full[0], 0.1, network.lattice, network.frac_coords)
    with pytest.raises(InputError, match="finite"):
        IonTrajectory(np.full((200, 26, 3), np.nan), 0.1, network.lattice, network.frac_coords)
    with pytest.raises(InputError, match="100 frames"):
        ion_diffusion(IonTrajectory(full[:99, :26], 0.1, network.lattice, network.frac_coords))


def test_arrhenius_line_of_exact_and_of_noisy_points() -> None:
    T = np.array([900.0, 1100.0, 1400.0, 1800.0])
    exact = 2e-3 * np.exp(-0.7 / (BOLTZMANN_EV_PER_K * T))
    line = fit_arrhenius(T, exact, [(d * 0.8, d * 1.25) for d in exact])
    assert line.activation_energy == pytest.approx(0.7)
    assert np.exp(line.log_prefactor) == pytest.approx(2e-3)
    assert line.scatter == pytest.approx(0, abs=1e-6)
    middle, low, high = line.log10(T)
    assert middle == pytest.approx(np.log10(exact))
    assert np.all(high - low < np.log10(1.25 / 0.8))  # four points know more than one
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        seen = exact * np.exp(rng.normal(scale=0.2, size=4))
        of = fit_arrhenius(T, seen, [(d * np.exp(-0.329), d * np.exp(0.329)) for d in seen])
        held += of.activation_interval[0] < 0.7 < of.activation_interval[1]
    assert 0.86 < held / 300 < 0.98
    for bad in (([1000.0], [1e-6], [(1e-7, 1e-5)]), ([900.0, 1000.0], [1e-6, 0.0], [(1e-7, 1e-5)] * 2)):
        with pytest.raises(InputError, match="Arrhenius"):
            fit_arrhenius(*bad)


SHORT = DynamicsSettings(
    time_ps=0.5,
    equilibration_ps=0.1,
    timestep_fs=2,
    sample_fs=4,
    vacancies=1,
    shortest_image_distance=5,
    thermostat_fs=20,
)


class Broken(EMT):
    """A calculator that is killed after some calls."""

    calls = 0

    def calculate(self, *args: object, **more: object) -> None:
        self.calls += 1
        if self.calls > 220:
            raise KeyboardInterrupt
        super().calculate(*args, **more)


def test_a_killed_run_goes_on_along_the_same_path(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True) * (2, 2, 1)
    del atoms[0]
    whole = run_nvt(atoms, EMT(), SHORT, 600, seed=4, folders=[_new(tmp_path / "whole")])
    assert whole.resumed_at_ps is None
    assert len(whole.positions) == 126
    assert whole.n_force_calls == 301
    with pytest.raises(KeyboardInterrupt):
        run_nvt(atoms, Broken(), SHORT, 600, seed=4, folders=[_new(tmp_path / "first")])
    again = run_nvt(atoms, EMT(), SHORT, 600, seed=4, folders=[_new(tmp_path / "second"), tmp_path / "first"])
    assert again.resumed_at_ps is None  # 220 calls are 0.44 ps: no checkpoint yet
    long = SHORT.model_copy(update={"time_ps": 1.0})
    more = run_nvt(atoms, EMT(), long, 600, seed=4, folders=[_new(tmp_path / "third"), tmp_path / "second"])
    assert more.resumed_at_ps == pytest.approx(0.6)
    straight = run_nvt(atoms, EMT(), long, 600, seed=4, folders=[_new(tmp_path / "fourth")])
    assert more.positions == pytest.approx(straight.positions, abs=1e-6)
    assert more.positions[:126] == pytest.approx(whole.positions, abs=1e-6)
    other = run_nvt(atoms, EMT(), SHORT, 700, seed=4, folders=[tmp_path / "third"])
    assert other.resumed_at_ps is None  # another temperature's checkpoint is not this run's
    (tmp_path / "third" / CHECKPOINT_FILE).write_bytes(b"PK cut off")
    assert run_nvt(atoms, EMT(), SHORT, 600, seed=4, folders=[tmp_path / "third"]).resumed_at_ps is None


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_thermostat_holds_temperature_and_centre_of_mass(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    long = SHORT.model_copy(update={"time_ps": 2.0})
    run = run_nvt(atoms, EMT(), long, 500, seed=0, folders=[tmp_path])
    # 45 degrees of freedom fluctuate by 21 %; over the fifty independent times of the run the mean does by 3 %.
    assert run.mean_temperature_K == pytest.approx(500, rel=0.1)
    assert run.positions.mean(axis=1) == pytest.approx(np.tile(run.positions[0].mean(axis=0), (501, 1)), abs=1e-6)
    with pytest.raises(EngineError, match="went astray"):
        run_nvt(atoms, EMT(), SHORT, 3e6, seed=0, folders=[tmp_path])


def perovskite_cell() -> Structure:
    return Structure(Lattice.cubic(3.94), ["Sr", "Ti", "O", "O", "O"],
                     [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])  # fmt: skip


def test_supercell_has_its_sites_and_vacancies() -> None:
    cell = perovskite_cell()
    wanted = SHORT.model_copy(update={"shortest_image_distance": 7.5, "vacancies": 2})
    large, sites, repeats = supercell_with_vacancies(cell, cell.frac_coords[2:], "O", wanted, seed=1)
    assert repeats == (2, 2, 2)
    assert large.composition.as_dict() == {"Sr": 8, "Ti": 8, "O": 22}
    assert len(sites) == 24
    ions = np.array([s.frac_coords for s in large if s.specie.symbol == "O"])
    apart = large.lattice.get_all_distances(ions, sites)
    assert sorted(apart.min(axis=0).round(6))[:22] == [0.0] * 22
    assert sorted(apart.min(axis=0))[-2:] == pytest.approx([3.94 / np.sqrt(2)] * 2)
    with pytest.raises(StructureError, match="nothing can move"):
        none = SHORT.model_copy(update={"vacancies": 0})
        supercell_with_vacancies(cell, cell.frac_coords[2:], "O", none, seed=1)
    with pytest.raises(StructureError, match="of 0 Li ions"):
        supercell_with_vacancies(cell, cell.frac_coords[2:], "Li", wanted, seed=1)
    assert DynamicsSettings(temperatures_K=[900, 700, 800]).temperatures_K == [700, 800, 900]
    for wrong in ({"temperatures_K": [300, 300, 400]}, {"temperatures_K": [300, 400]}, {"time_ps": 0.1}):
        with pytest.raises(ValidationError):
            DynamicsSettings.model_validate(wrong)


def doc_of(temperature: float, energy: float = 0.3, time_ps: float = 60.0) -> DynamicsDoc:
    """Return the document of a synthetic walk in a cell of mobile ions and one that stays."""
    network = cubic_network(3)
    scale = TEMPERATURE / temperature  # the walk is at 1000 K: its barriers over kT are those at this temperature
    run = walk(network, *uniform(network, energy * scale), time_ps=time_ps, interval_ps=0.05, seed=int(temperature))
    stays = np.full((len(run.positions), 1, 3), 1.4)
    cell = Structure(network.lattice, ["O"] * 26 + ["Ti"], np.zeros((27, 3)))
    fields = analyse(
        Run(np.concatenate([run.positions, stays], axis=1), 0.05, temperature, 1000, 1.0, None),
        cell, sites=run.sites, mobile="O", settings=SHORT, temperature_K=temperature,
    )  # fmt: skip
    about = {"supercell": [1, 1, 1], "protocol": "p", "protocol_hash": "h", "versions": {}}
    return DynamicsDoc.model_validate(fields | about)


@pytest.mark.slow
def test_runs_at_several_temperatures_give_the_barrier() -> None:
    docs = [doc_of(T) for T in (1800.0, 1300.0, 1000.0)]
    found = DynamicsDoc.model_validate(json.loads(json.dumps(docs[0].to_mongo())))
    assert np.array(found.trajectory["positions"]).shape == (1201, 26, 3)
    gathered = DiffusionFromDynamicsMaker.make.original(
        DiffusionFromDynamicsMaker(), [d.to_mongo() for d in docs] + [None], [1800.0, 1300.0, 1000.0, 900.0]
    )
    assert [p["temperature_K"] for p in gathered["points"]] == [1000.0, 1300.0, 1800.0]
    low, high = gathered["activation_energy"]["interval"]
    assert low < 0.3 < high
    assert high - low < 0.4
    assert gathered["missing"] == ["the run at 900 K failed"]
    # Nothing was seen: no line, and the reason says so.
    cold = arrhenius_doc([doc_of(T, energy=1.5, time_ps=10) for T in (500.0, 600.0)], [])
    assert cold.activation_energy.reason == "diffusion was seen at 0 of 2 temperatures, a line needs two"
    assert all(p.vacancy_upper_bound for p in cold.points)
    with pytest.raises(NotConvergedError):
        DiffusionFromDynamicsMaker.make.original(DiffusionFromDynamicsMaker(), [None], [900.0])


def test_a_crystal_that_falls_apart_has_no_diffusivity() -> None:
    network = cubic_network(3)
    run = walk(network, *uniform(network, 1.5), time_ps=10, interval_ps=0.05, seed=0)
    away = np.zeros((201, 2, 3))
    away[:, 0] += np.linspace(0, 6, 201)[:, None]
    cell = Structure(network.lattice, ["O"] * 26 + ["Ti"] * 2, np.zeros((28, 3)))
    moved = Run(np.concatenate([run.positions, away], axis=1), 0.05, 900.0, 1, 1.0, None)
    fields = analyse(moved, cell, sites=run.sites, mobile="O", settings=SHORT, temperature_K=900.0)
    assert "did not hold at 900 K" in fields["vacancy_diffusivity"].reason
    assert fields["vacancy_upper_bound"] is None


@pytest.mark.mlip
@pytest.mark.slow
def test_job_with_a_potential_leaves_a_checkpoint_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = perovskite_cell()
    network = HopNetworkDoc(
        mobile="O", host=cell.as_dict(), versions={},
        network=NetworkDoc(lattice=cell.lattice.matrix.tolist(), frac_coords=cell.frac_coords[2:].tolist(),
                           atom_index=[2, 3, 4], start=[], end=[], image=[], environments=[]),
    ).to_mongo()  # fmt: skip
    settings = SHORT.model_copy(update={"time_ps": 0.2, "equilibration_ps": 0.0, "sample_fs": 2.0,
                                        "shortest_image_distance": 3.9}).model_dump()  # fmt: skip
    maker = DynamicsMaker(temperature_K=900.0, settings=settings)
    for folder in ("one", "two"):
        _new(tmp_path / folder)
    monkeypatch.chdir(tmp_path / "one")
    doc = DynamicsDoc.model_validate(DynamicsMaker.make.original(maker, network))
    assert (doc.n_atoms, doc.n_ions, doc.n_vacancies) == (4, 2, 1)
    assert doc.n_force_calls == 101
    assert doc.vacancy_diffusivity.value is None
    assert doc.framework_displacement < 1.5
    assert 300 < doc.mean_temperature_K < 2000
    # A later launch of the same Firework finds what this one left.
    monkeypatch.chdir(tmp_path / "two")
    launch = {"launch_id": 1, "launch_dir": str(tmp_path / "one"), "action": None}
    (tmp_path / "two" / "FW.json").write_text(json.dumps({"archived_launches": [launch]}))
    again = DynamicsDoc.model_validate(DynamicsMaker.make.original(maker, network))
    assert again.resumed_at_ps == pytest.approx(0.2)
    assert again.trajectory == doc.trajectory
