"""The SQS generators of the field on one core, and scores written from the definitions, for `make bench-sqs`.

Every peer is a function ``peer(case, budget_s, seed)`` that returns the best structure it found, run as its
documentation advises. Nothing here imports hemiec: the scores are an independent check of its engine.
"""

from __future__ import annotations

import multiprocessing
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms
    from icet import ClusterSpace

Rows = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
Peer = Callable[["Case", float, int], "Atoms"]
T = TypeVar("T")

#: Four shells of a simple cubic lattice, and two of A-B pairs, lie within 8 angstrom of a = 3.9 angstrom.
LATTICE_PARAMETER, CUTOFF = 3.9, 8.0
SUBLATTICES = {"A": (0.5, 0.5, 0.5), "B": (0.0, 0.0, 0.0)}
#: Rising in atomic number and in electronegativity, so that icet and smol number the species alike:
#: the correlation functions of more than two species, and with them L1 and Q, depend on the numbering.
PLACEHOLDERS = {"A": ("Na", "Mg", "Al", "Si", "P", "S"), "B": ("K", "Ca", "Sc", "Ti", "V", "Cr")}
#: Between the shells of one sublattice, in units of a: 1, sqrt(2), sqrt(3), 2.
_BETWEEN_SHELLS = (0.0, 1.2, 1.57, 1.87, 2.1)


class PeerMissing(RuntimeError):
    """A peer is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Case:
    """What is asked of every generator.

    ``counts`` are the sites per species of sublattice A and, if it is mixed too, of B; ``rows`` the supercell vectors
    in units of the primitive cubic cell, None to leave the shape to the generator; ``a`` is in angstrom.
    """

    name: str
    counts: tuple[tuple[int, ...], ...]
    rows: Rows | None = None
    a: float = LATTICE_PARAMETER

    @property
    def n_units(self) -> int:
        """Primitive cells in the supercell."""
        return sum(self.counts[0])

    @property
    def species(self) -> dict[str, dict[str, int]]:
        """Sites per placeholder element, by sublattice."""
        return {s: dict(zip(PLACEHOLDERS[s], n, strict=False)) for s, n in zip(SUBLATTICES, self.counts, strict=False)}

    @property
    def fractions(self) -> dict[str, dict[str, float]]:
        """Fraction of its sublattice per placeholder element, by sublattice."""
        return {s: {e: n / self.n_units for e, n in species.items()} for s, species in self.species.items()}


def primitive_cell(n_sublattices: int = 1, a: float = LATTICE_PARAMETER) -> Atoms:
    """Return the primitive cubic cell of one (A) or two (A, B) sublattices, ``a`` in angstrom."""
    from ase import Atoms

    names = list(SUBLATTICES)[:n_sublattices]
    return Atoms(
        [PLACEHOLDERS[s][0] for s in names],
        scaled_positions=[SUBLATTICES[s] for s in names],
        cell=[a] * 3,
        pbc=True,
        tags=range(n_sublattices),
    )


def supercell(case: Case) -> Atoms:
    """Return the supercell of a case with fixed rows; sublattice A carries tag 0 and B tag 1."""
    from ase.build import make_supercell

    return make_supercell(primitive_cell(len(case.counts), case.a), np.array(case.rows))


def sublattice(atoms: Atoms, name: str, a: float = LATTICE_PARAMETER) -> Atoms:
    """Return the atoms of sublattice A or B of an ideal structure, told by their positions."""
    away = atoms.positions / a - SUBLATTICES[name]
    return atoms[np.abs(away - np.rint(away)).max(axis=1) < 0.1]


@dataclass(frozen=True)
class Pairs:
    """Ordered neighbour pairs (i, j) by shell, from the sites of one sublattice to its own or to another's."""

    i: list[NDArray[np.int_]]
    j: list[NDArray[np.int_]]

    @classmethod
    def of(cls, first: Atoms, second: Atoms | None = None, *, n_shells: int = 4) -> Pairs:
        """Return all pairs of the first shells, periodic images included."""
        from ase.neighborlist import neighbor_list

        joint = first if second is None else first + second
        reach = 2.2 * (first.get_volume() / len(first)) ** (1 / 3)
        i, j, distances = neighbor_list("ijd", joint, reach)
        if second is not None:
            across = (i < len(first)) & (j >= len(first))
            i, j, distances = i[across], j[across] - len(first), distances[across]
        _, shell = np.unique(np.round(distances, 2), return_inverse=True)
        return cls([i[shell == s] for s in range(n_shells)], [j[shell == s] for s in range(n_shells)])

    def warren_cowley(self, first: NDArray[np.int_], second: NDArray[np.int_] | None = None) -> NDArray[np.float64]:
        """Return alpha_ij = 1 - p_ij / (c_i c_j) of every shell for the species on the sites.

        p_ij is the fraction of the shell's ordered pairs that start at species i and end at species j, c the
        fractions of the sublattices they start and end on (doi:10.1103/PhysRev.77.669); unit 1,
        shape=(n_shells, n_species, n_species).
        """
        second = first if second is None else second
        is_i = (first[:, None] == np.unique(first)).astype(float)
        is_j = (second[:, None] == np.unique(second)).astype(float)
        p = np.array([is_i[i].T @ is_j[j] / len(i) for i, j in zip(self.i, self.j, strict=True)])
        return 1 - p / np.outer(is_i.mean(axis=0), is_j.mean(axis=0))


def warren_cowley(first: Atoms, second: Atoms | None = None, *, n_shells: int = 4) -> NDArray[np.float64]:
    """Return the Warren-Cowley parameters of the first shells of one sublattice, or between two; see `Pairs`."""
    pairs = Pairs.of(first, second, n_shells=n_shells)
    return pairs.warren_cowley(first.numbers, None if second is None else second.numbers)


def wc4(atoms: Atoms) -> float:
    """Return the root mean square Warren-Cowley parameter of one sublattice's first four shells.

    The mean is over all ordered species pairs: like pairs count once, unlike pairs twice.
    """
    return _root_mean_square(warren_cowley(atoms))


def wc_combined(a_sites: Atoms, b_sites: Atoms) -> float:
    """Return the root mean square Warren-Cowley parameter of A-A and B-B (four shells) and A-B pairs (two).

    Every parameter counts once; the order A-B is taken, B-A holds the same numbers.
    """
    return _root_mean_square(
        warren_cowley(a_sites), warren_cowley(b_sites), warren_cowley(a_sites, b_sites, n_shells=2)
    )


def icet_l1(atoms: Atoms, n_sublattices: int = 1, a: float = LATTICE_PARAMETER) -> float:
    """Return the sum of |cluster vector - its value for the random alloy| over pairs to 8 angstrom (icet).

    Zerolet and points are in the sum and contribute nothing. Species of both sublattices may coincide;
    each keeps its rank in atomic number, on which the value depends.
    """
    names = list(SUBLATTICES)[:n_sublattices]
    parts = [sublattice(atoms, name, a) for name in names]
    ranks = [np.unique(part.numbers, return_inverse=True)[1] for part in parts]
    for name, part, rank in zip(names, parts, ranks, strict=True):
        part.symbols = [PLACEHOLDERS[name][r] for r in rank]
    counts = tuple(tuple(int(n) for n in np.bincount(rank)) for rank in ranks)
    case = Case("score", counts, a=a)
    joint = parts[0] if n_sublattices == 1 else parts[0] + parts[1]
    space, target = _icet_space(case)
    return float(np.abs(space.get_cluster_vector(joint) - target).sum())


def scores(case: Case, atoms: Atoms) -> dict[str, float]:
    """Return every score of a structure made for a case: wc4 by sublattice, their combination, and icet's L1."""
    a_sites = sublattice(atoms, "A", case.a)
    if len(case.counts) == 1:
        return {"wc4": wc4(a_sites), "l1": icet_l1(atoms, 1, case.a)}
    b_sites = sublattice(atoms, "B", case.a)
    return {
        "wc4": wc_combined(a_sites, b_sites),
        "wc4_A": wc4(a_sites),
        "wc4_B": wc4(b_sites),
        "wc2_AB": _root_mean_square(warren_cowley(a_sites, b_sites, n_shells=2)),
        "l1": icet_l1(atoms, 2, case.a),
    }


def check(case: Case, atoms: Atoms) -> None:
    """Raise ValueError if a structure is not what the case asked for: counts, sublattices, or a given supercell."""
    for name, wanted in case.species.items():
        got = sublattice(atoms, name, case.a).symbols.formula.count()
        if got != wanted:
            raise ValueError(f"{case.name}: sublattice {name} should hold {wanted}, got {got}")
    if case.rows is not None:
        # Two bases of one lattice differ by an integer matrix of determinant 1 or -1.
        change = atoms.cell[:] / case.a @ np.linalg.inv(np.array(case.rows))
        if np.abs(change - np.rint(change)).max() > 1e-3 or round(abs(np.linalg.det(change))) != 1:
            raise ValueError(f"{case.name}: the cell is not the supercell {case.rows}")


def icet_defaults(case: Case, budget_s: float, seed: int) -> Atoms:
    """Return icet's SQS of smallest Q: default annealing from one seed after another until the budget is over.

    With no rows, `generate_sqs` enumerates all shapes of that size, once, however long it takes.
    """
    generation = _peer("icet.tools.structure_generation", "icet")
    start = time.perf_counter()
    space, _ = _icet_space(case)
    with _global_random_kept():  # icet seeds it
        if case.rows is None:
            return generation.generate_sqs(
                space, case.n_units, _icet_fractions(case), include_smaller_cells=False, random_seed=seed
            )
        runs = (
            generation.generate_sqs_from_supercells(space, [supercell(case)], _icet_fractions(case), random_seed=s)
            for s in range(seed, seed + 1_000_000)
        )
        return _best_within(runs, lambda atoms: icet_q(case, atoms), budget_s, start)


def smol(case: Case, budget_s: float, seed: int) -> Atoms:
    """Return smol's best SQS by its own score: annealing from T = 1 to 0.01 in 20 steps, again while time is left.

    Its sinusoid basis gives icet's correlation functions, its score is then icet's L1, and it runs faster
    than its default (indicator) basis. That basis is centred at equal fractions only; for others it is orthonormalised
    around them. With no rows it enumerates the shapes itself.
    """
    sqs = _peer("smol.capp.generate.special.sqs", "smol")
    occupations = _peer("smol.capp.generate.random", "smol")
    from pymatgen.core import Lattice, Structure

    start = time.perf_counter()
    names = list(SUBLATTICES)[: len(case.counts)]
    generator = sqs.StochasticSQSGenerator.from_structure(
        Structure(Lattice.cubic(case.a), [case.fractions[s] for s in names], [SUBLATTICES[s] for s in names]),
        {2: CUTOFF},
        case.n_units,
        basis="sinusoid",
        orthonormal=any(len(set(n)) > 1 for n in case.counts),
        supercell_matrices=None
        if case.rows is None
        else [np.array(case.rows) * round(np.sign(np.linalg.det(case.rows)))],  # smol wants it right-handed
        match_weight=0.0,  # score = L1; the term for perfectly matched shells never applies here
        kernel_kwargs={"seed": seed},
        seed=seed,
    )
    rng = np.random.default_rng(seed)

    def anneal(steps: int) -> Any:
        processors = generator.processors
        composition = [sublattice.composition for sublattice in processors[0].get_sublattices()]
        occupancies = [
            occupations.generate_random_ordered_occupancy(p, composition=composition, rng=rng) for p in processors
        ]
        generator.generate(steps, temperatures=np.linspace(1, 0.01, 20), initial_occupancies=np.array(occupancies))
        return generator.get_best_sqs(1, remove_duplicates=False, reduction_algorithm=None)[0]

    trial = time.perf_counter()
    best = anneal(20)
    # Anneals of equal length that fill the budget, of about 1,000 steps at each temperature.
    left = 0.9 * (budget_s - (time.perf_counter() - start))
    affordable = 20 * left / (time.perf_counter() - trial)
    steps = int(affordable / max(1, round(affordable / 1000)))
    if steps > 20:
        best = _best_within((anneal(steps) for _ in range(1_000_000)), lambda s: s.score, budget_s, start)
    return _from_pymatgen(best.structure)


def sqsgenerator(case: Case, budget_s: float, seed: int) -> Atoms:
    """Return sqsgenerator's best structure: random sampling of Warren-Cowley parameters, four shells of equal weight.

    It counts minimum-image pairs only, so that a shell may be empty in a small cell and many structures share its
    best objectives. Of the first 200 that it returns the one of smallest true parameters is taken, after the
    budget and in its favour. Two sublattices run in its "split" mode.
    """
    module = _peer("sqsgenerator")
    log_level = import_module("sqsgenerator.core").LogLevel.error
    if case.rows is None:
        raise NotImplementedError("sqsgenerator does not search shapes")
    end = time.perf_counter() + budget_s
    cell = supercell(case)
    sites = [np.flatnonzero(cell.get_tags() == tag) for tag in range(len(case.counts))]
    radii = [case.a * edge for edge in _BETWEEN_SHELLS]
    weights = dict.fromkeys(range(1, len(radii)), 1.0)
    config = module.parse_config(
        {
            "structure": {
                "lattice": cell.cell.tolist(),
                "coords": cell.get_scaled_positions().tolist(),
                "species": list(cell.symbols),
            },
            "composition": [
                {**species, "sites": where.tolist()}
                for species, where in zip(case.species.values(), sites, strict=True)
            ],
            "sublattice_mode": "split",
            "iteration_mode": "random",
            "iterations": 2_000_000_000,
            "chunk_size": 5_000,
            "shell_radii": [radii] * len(sites),
            "shell_weights": [weights] * len(sites),
            "thread_config": 1,
            "seed": seed,
        }
    )
    if hasattr(config, "msg"):
        raise ValueError(f"{case.name}: sqsgenerator refuses {config.key}: {config.msg}")

    def stop_in_time(context: Any) -> None:
        if time.perf_counter() > end:
            context.stop()

    pack = module.optimize(config, level=log_level, callback=stop_in_time)
    found = [np.array(result.structure().species) for _, results in pack for result in results][:200]
    cell.numbers = min(found, key=_true_parameters(cell, sites))
    return cell


def _true_parameters(cell: Atoms, sites: list[NDArray[np.int_]]) -> Callable[[NDArray[np.int_]], float]:
    """Return a function from atomic numbers on a cell to wc4, or to the combined one of two sublattices."""
    within = [Pairs.of(cell[where]) for where in sites]
    across = Pairs.of(cell[sites[0]], cell[sites[1]], n_shells=2) if len(sites) == 2 else None

    def score(numbers: NDArray[np.int_]) -> float:
        parameters = [pairs.warren_cowley(numbers[where]) for pairs, where in zip(within, sites, strict=True)]
        if across is not None:
            parameters.append(across.warren_cowley(numbers[sites[0]], numbers[sites[1]]))
        return _root_mean_square(*parameters)

    return score


def mcsqs(case: Case, budget_s: float, seed: int) -> Atoms:
    """Return the bestsqs.out that ATAT's mcsqs has written when the budget is over."""
    for program in ("mcsqs", "corrdump"):
        if shutil.which(program) is None:
            raise PeerMissing(f"{program} is not on PATH: mcsqs is skipped. Mend: install ATAT 3")
    end = time.perf_counter() + budget_s
    sites = [
        "{} {} {} ".format(*SUBLATTICES[s]) + ",".join(f"{e}={x:.10f}" for e, x in species.items())
        for s, species in case.fractions.items()
    ]
    axes = f"{case.a} {case.a} {case.a} 90 90 90"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rndstr.in").write_text("\n".join([axes, "1 0 0", "0 1 0", "0 0 1", *sites]) + "\n")
        shape = f"-n={case.n_units * len(case.counts)}"
        if case.rows is not None:
            shape = "-rc"
            (folder / "sqscell.out").write_text(
                "1\n\n" + "\n".join(" ".join(map(str, row)) for row in case.rows) + "\n"
            )
        clusters = ["corrdump", "-l=rndstr.in", "-ro", "-noe", "-nop", "-clus", f"-2={CUTOFF}"]
        subprocess.run(clusters, cwd=folder, check=True, capture_output=True)
        # It runs until it is stopped.
        with subprocess.Popen(
            ["mcsqs", shape, f"-sd={seed + 1}"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(timeout=max(0.1, end - time.perf_counter()))
            except subprocess.TimeoutExpired:
                process.kill()
        best = folder / "bestsqs.out"
        if not best.exists():
            raise RuntimeError(f"{case.name}: mcsqs wrote no bestsqs.out in {budget_s} s")
        return read_atat(best)


PEERS: dict[str, Peer] = {"icet": icet_defaults, "smol": smol, "sqsgenerator": sqsgenerator, "mcsqs": mcsqs}


def in_process(peer: str, case: Case, budget_s: float, seed: int, *, limit_s: float) -> tuple[float, Atoms] | None:
    """Return seconds used and the structure of a peer in a process of its own, or None past ``limit_s``.

    For free shapes, where no peer heeds a budget. Imports are not counted in the seconds.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(send, peer, case, budget_s, seed))
    process.start()
    send.close()
    try:
        if not receive.poll(limit_s):
            return None
        answer: tuple[float, Atoms] | Exception = receive.recv()
    except EOFError:
        raise RuntimeError(f"{peer} ended without a structure for {case.name}") from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(send: Any, peer: str, case: Case, budget_s: float, seed: int) -> None:
    """Send (seconds, structure), or the exception."""
    warm_up(peer)
    start = time.perf_counter()
    try:
        atoms = PEERS[peer](case, budget_s, seed)
        send.send((time.perf_counter() - start, atoms))
    except Exception as error:
        send.send(error)


def warm_up(peer: str) -> None:
    """Import a peer and let it compile what it compiles, on a case of four sites."""
    if peer != "mcsqs":
        PEERS[peer](Case("warm up", ((2, 2),), ((1, 1, 0), (1, -1, 0), (0, 0, 2))), 0.0, 0)


def icet_q(case: Case, atoms: Atoms) -> float:
    """Return icet's own objective Q of a structure that holds the case's placeholder elements."""
    compare = _peer("mchammer.calculators.target_vector_calculator", "icet").compare_cluster_vectors
    space, target = _icet_space(case)
    return float(compare(space.get_cluster_vector(atoms), target, space.as_list))


def read_atat(path: Path) -> Atoms:
    """Return the structure of an ATAT file: three axes, three cell vectors and the sites in units of the axes."""
    from ase import Atoms

    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    axes, vectors = (np.array(lines[n : n + 3], dtype=float) for n in (0, 3))
    positions = np.array([line[:3] for line in lines[6:]], dtype=float)
    symbols = [re.match(r"[A-Z][a-z]?", line[3])[0] for line in lines[6:]]  # type: ignore[index]
    return Atoms(symbols, positions=positions @ axes, cell=vectors @ axes, pbc=True)


def _root_mean_square(*parameters: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([p.ravel() for p in parameters]) ** 2)))


def _peer(module: str, package: str | None = None) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = package or module
        raise PeerMissing(f"{name} is not installed. Mend: pip install 'hemiec[bench]'") from error


def _best_within(runs: Iterator[T], score: Callable[[T], float], budget_s: float, start: float) -> T:
    """Return the run of smallest score; none but the first is begun that would end after the budget."""
    best, best_score, longest = None, np.inf, 0.0
    while best is None or time.perf_counter() + longest < start + budget_s:
        begun = time.perf_counter()
        candidate = next(runs)
        value = score(candidate)
        longest = max(longest, time.perf_counter() - begun)
        if best is None or value < best_score:
            best, best_score = candidate, value
    return best


def _icet_space(case: Case) -> tuple[ClusterSpace, NDArray[np.float64]]:
    """Return the cluster space of pairs to 8 angstrom and the cluster vector of the random alloy."""
    return _cached_icet_space(case.counts, case.a)


@lru_cache(maxsize=16)
def _cached_icet_space(counts: tuple[tuple[int, ...], ...], a: float) -> tuple[ClusterSpace, NDArray[np.float64]]:
    space_type = _peer("icet").ClusterSpace
    target_vector = _peer("icet.tools.structure_generation", "icet")._get_sqs_cluster_vector
    case = Case("space", counts, a=a)
    space = space_type(primitive_cell(len(counts), a), [CUTOFF], [list(s) for s in case.species.values()])
    return space, target_vector(space, _icet_fractions(case))


def _icet_fractions(case: Case) -> dict[str, dict[str, float]]:
    # icet's letters for the mixed sublattices follow the alphabetical order of their elements.
    return dict(zip("AB", sorted(case.fractions.values(), key=sorted), strict=False))


@contextmanager
def _global_random_kept() -> Iterator[None]:
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _from_pymatgen(structure: Any) -> Atoms:
    from ase import Atoms

    symbols = [site.specie.symbol for site in structure]
    return Atoms(symbols, positions=structure.cart_coords, cell=structure.lattice.matrix, pbc=True)
