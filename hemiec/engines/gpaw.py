"""Band gaps from spin-polarised DFT+U with GPAW in plane waves (doi:10.1063/5.0182685)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from jobflow import Maker, job
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec import __version__
from hemiec.engines.protocol import GpawProtocol, ScfAttemptSettings, load_gpaw
from hemiec.errors import EngineError, NotConvergedError
from hemiec.schemas.documents import GapDoc, ScfAttempt

#: A gap of fewer smearing widths than this is not resolved: the states on both sides are partly filled.
RESOLUTION_IN_WIDTHS = 5.0
#: The moment of an insulator is a whole number; farther off, the density had not settled (Bohr magnetons).
MOMENT_TOLERANCE = 0.1
OUTPUT_FILE = "gpaw.txt"


@dataclass
class GapMaker(Maker):
    """Compute the band gap of a relaxed structure.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a GPAW protocol.
    """

    name: str = "band gap"
    protocol: str = "gpaw-fast"

    @job
    def make(self, structure: Structure, supercell: list[list[int]] | None = None) -> dict[str, Any]:
        """Return a GapDoc; see :func:`compute_gap`."""
        return compute_gap(structure, load_gpaw(self.protocol), supercell=supercell).to_mongo()


@dataclass(frozen=True)
class BandEdges:
    """Extrema of the filled and empty bands over k-points and spins, in eV; None where bands cross the Fermi level."""

    valence_maximum: float
    conduction_minimum: float
    direct_gap: float
    n_occupied: tuple[int, ...]

    @property
    def gap(self) -> float:
        """Fundamental gap in eV."""
        return self.conduction_minimum - self.valence_maximum

    def merge(self, other: BandEdges) -> BandEdges:
        """Return the edges over both sets of k-points."""
        return BandEdges(
            max(self.valence_maximum, other.valence_maximum),
            min(self.conduction_minimum, other.conduction_minimum),
            min(self.direct_gap, other.direct_gap),
            self.n_occupied,
        )


def band_edges(
    eigenvalues: NDArray[np.float64], fermi_level: float, n_occupied: Sequence[int] | None = None
) -> BandEdges | None:
    """Return the band edges, or None for a metal.

    Parameters
    ----------
    eigenvalues
        In eV, shape=(n_spins, n_kpoints, n_bands), each k-point sorted.
    fermi_level
        In eV.
    n_occupied
        Filled bands of each spin, if known from another mesh; else counted below the Fermi level.
    """
    counts = (eigenvalues < fermi_level).sum(axis=2)
    if n_occupied is None:
        if any(len(set(row)) > 1 for row in counts.tolist()):
            return None
        n_occupied = [int(row[0]) for row in counts]
    filled, empty = [], []
    for spin, n in enumerate(n_occupied):
        if n >= eigenvalues.shape[2]:
            raise EngineError("no empty band was computed; raise the number of bands of the protocol.")
        empty.append(eigenvalues[spin, :, n])
        # A spin channel without electrons has no valence band.
        filled.append(eigenvalues[spin, :, n - 1] if n else np.full(eigenvalues.shape[1], -np.inf))
    top, bottom = np.array(filled), np.array(empty)
    direct = float((bottom.min(axis=0) - top.max(axis=0)).min())
    edges = BandEdges(float(top.max()), float(bottom.min()), direct, tuple(n_occupied))
    return edges if edges.gap > 0 else None


def kpoint_mesh(structure: Structure, spacing: float) -> tuple[int, int, int]:
    """Return the smallest mesh whose spacing (2 pi included) is at most ``spacing`` in 1/angstrom."""
    lengths = structure.lattice.reciprocal_lattice.abc
    n = [max(1, math.ceil(length / spacing - 1e-6)) for length in lengths]
    return n[0], n[1], n[2]


def compute_gap(
    structure: Structure, protocol: GpawProtocol, *, supercell: Sequence[Sequence[int]] | None = None
) -> GapDoc:
    """Return the band gap of a structure at fixed geometry.

    The density is converged on the protocol's mesh; for insulators the eigenvalues are then also
    computed at fixed density at the parent's zone centre and corner, where cubic perovskites have
    their band edges, and the edges are taken over all these points.

    Parameters
    ----------
    structure
        Cell and positions.
    protocol
        Cutoff, mesh, U, moments and retry ladder.
    supercell
        Rows: the cell vectors in units of the parent's, shape=(3, 3); default the unit matrix.

    Raises
    ------
    EngineError
        If the protocol does not treat an element, or GPAW is not installed.
    NotConvergedError
        If no attempt of the retry ladder converges.
    """
    symbols = [site.specie.symbol for site in structure]
    refuse_open_shells(symbols, protocol)
    attempts: list[ScfAttempt] = []
    for settings in protocol.attempts:
        calc, attempt = _converge(structure, protocol, settings)
        attempts.append(attempt)
        if attempt.converged:
            break
    else:
        tried = "; ".join(
            f"{a.settings['mixer']['name']}: {a.message} after {a.n_iterations} iterations" for a in attempts
        )
        raise NotConvergedError(f"{structure.formula}: SCF did not converge ({tried}).", mend=f"see {OUTPUT_FILE}")

    fermi = float(calc.get_fermi_level())
    edges = _resolved(band_edges(_eigenvalues(calc), fermi), settings.smearing_eV)
    if edges is not None and protocol.band_edge_points:
        edges = _resolved(edges.merge(_edges_at_fixed_density(calc, protocol, edges, supercell)), settings.smearing_eV)
    energy = float(calc.results["energy"])
    if not math.isfinite(energy):
        raise EngineError(f"{structure.formula}: GPAW returned an energy that is not finite.")
    return GapDoc(
        band_gap=edges.gap if edges else 0.0,
        direct_gap=edges.direct_gap if edges else None,
        is_metal=edges is None,
        valence_band_maximum=edges.valence_maximum if edges else None,
        conduction_band_minimum=edges.conduction_minimum if edges else None,
        fermi_level=fermi,
        total_moment=float(calc.get_magnetic_moment()),
        site_moments=[float(m) for m in calc.get_magnetic_moments()],
        initial_moments=_initial_moments(symbols, protocol),
        energy=energy,
        functional=protocol.functional,
        hubbard_u={s: u.value_eV for s, u in protocol.hubbard_u.items() if s in symbols},
        cutoff_eV=protocol.cutoff_eV,
        kpoint_mesh=list(kpoint_mesh(structure, protocol.kpoint_spacing_per_A)),
        smearing_eV=settings.smearing_eV,
        spin_polarised=True,
        attempts=attempts,
        structure=structure.as_dict(),
        datasets={s.symbol: f"{s.type} {s.fingerprint}" for s in calc.dft.setups.setups.values()},
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        versions={"hemiec": __version__, **{p: version(p) for p in ("gpaw", "gpaw-data", "ase")}},
    )


def refuse_open_shells(symbols: Sequence[str], protocol: GpawProtocol) -> None:
    """Raise EngineError if the protocol does not treat one of the elements."""
    refused = sorted(set(symbols) & set(protocol.refused_elements))
    if refused:
        raise EngineError(
            f"protocol {protocol.name} does not treat {', '.join(refused)}: the open 4f shell needs a U and magnetic "
            "states that it does not have.",
            mend="set `protocols: {gap: null}` in the campaign, or choose cations with empty or filled 4f shells",
        )


def _resolved(edges: BandEdges | None, smearing: float) -> BandEdges | None:
    """Return the edges if their gap is wide enough to be told from a metal with this smearing."""
    return edges if edges is not None and edges.gap >= RESOLUTION_IN_WIDTHS * smearing else None


def _initial_moments(symbols: Sequence[str], protocol: GpawProtocol) -> list[float]:
    return [protocol.initial_moments.get(symbol, 0.0) for symbol in symbols]


def _converge(structure: Structure, protocol: GpawProtocol, settings: ScfAttemptSettings) -> tuple[Any, ScfAttempt]:
    """Run one attempt of the SCF cycle and return the calculator with a record of it."""
    from pymatgen.io.ase import AseAtomsAdaptor

    try:
        from gpaw import GPAW, KohnShamConvergenceError
    except ImportError as error:
        raise EngineError("GPAW is not installed.", mend="run `make setup`, or pip install 'hemiec[gpaw]'") from error

    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.calc = None
    atoms.set_initial_magnetic_moments(_initial_moments(atoms.get_chemical_symbols(), protocol))
    calc = GPAW(
        mode={"name": "pw", "ecut": protocol.cutoff_eV},
        xc=protocol.functional,
        kpts={"size": kpoint_mesh(structure, protocol.kpoint_spacing_per_A), "gamma": protocol.kpoints_gamma_centred},
        occupations={"name": "fermi-dirac", "width": settings.smearing_eV},
        mixer=settings.mixer,
        setups={s: f":{u.orbital},{u.value_eV}" for s, u in protocol.hubbard_u.items() if s in atoms.symbols},
        convergence=dict(protocol.convergence),
        nbands=protocol.bands,
        maxiter=settings.max_iterations,
        spinpol=True,
        txt=OUTPUT_FILE,
    )
    atoms.calc = calc
    started = time.perf_counter()
    message = None
    try:
        atoms.get_potential_energy()
        message = _unsettled_moment(calc, settings.smearing_eV)
    except KohnShamConvergenceError as error:
        message = str(error) or "criteria not met"
    return calc, ScfAttempt(
        settings=settings.model_dump(mode="json"),
        converged=message is None,
        n_iterations=int(calc.get_number_of_iterations()),
        elapsed_s=time.perf_counter() - started,
        message=message,
    )


def _unsettled_moment(calc: Any, smearing: float) -> str | None:
    """Return what is wrong if an insulator's moment is not that of its filled bands: a plateau, not a solution."""
    edges = _resolved(band_edges(_eigenvalues(calc), float(calc.get_fermi_level())), smearing)
    if edges is None:
        return None
    expected = edges.n_occupied[0] - edges.n_occupied[-1]
    moment = float(calc.get_magnetic_moment())
    if abs(moment - expected) <= MOMENT_TOLERANCE:
        return None
    return f"moment {moment:.2f}, but the filled bands have {expected}"


def _eigenvalues(calc: Any) -> NDArray[np.float64]:
    """Return the eigenvalues in eV, shape=(n_spins, n_kpoints, n_bands)."""
    n_kpoints = len(calc.get_ibz_k_points())
    return np.array(
        [
            [np.sort(calc.get_eigenvalues(kpt=k, spin=s)) for k in range(n_kpoints)]
            for s in range(calc.get_number_of_spins())
        ]
    )


def _edges_at_fixed_density(
    calc: Any, protocol: GpawProtocol, edges: BandEdges, supercell: Sequence[Sequence[int]] | None
) -> BandEdges:
    """Return the band edges at the parent's special points, folded into the supercell's zone."""
    matrix = np.eye(3) if supercell is None else np.array(supercell, dtype=float)
    # A reciprocal vector of the parent has components (cell rows) . k in the supercell's reciprocal basis.
    points = np.unique(np.mod(np.array(protocol.band_edge_points) @ matrix.T, 1.0).round(8), axis=0)
    fixed = calc.fixed_density(
        kpts=points, txt=None, convergence={"eigenstates": protocol.convergence["eigenstates"], "bands": "CBM+0.2"}
    )
    found = band_edges(_eigenvalues(fixed), edges.valence_maximum, edges.n_occupied)
    # Crossing edges at these points mean that the mesh missed a metal: return no gap at all.
    return found or BandEdges(np.inf, -np.inf, 0.0, edges.n_occupied)
