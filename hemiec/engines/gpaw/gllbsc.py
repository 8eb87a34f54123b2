"""Fundamental gaps with the derivative discontinuity: GLLB-SC in GPAW's former plane-wave code.

doi:10.1103/PhysRevB.82.115106. The gap is the Kohn-Sham gap plus the expectation value of the jump that the response
potential makes when an electron is added (eq. 24 and 25 there).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec.engines.electronic import (
    BandEdges,
    band_center,
    band_edges,
    dos_at_fermi_level,
    folded_points,
    kpoint_mesh,
)
from hemiec.engines.gpaw.calculator import OUTPUT_FILE, build_calculator, eigenvalues_of, require_gpaw
from hemiec.engines.gpaw.datasets import ensure_datasets
from hemiec.engines.gpaw.document import calculation_doc, mesh_edges
from hemiec.engines.gpaw.plateau import MOMENT_TOLERANCE
from hemiec.engines.gpaw.protocol import GpawAttempt, GpawProtocol
from hemiec.engines.gpaw.scf import Scf, unused_path
from hemiec.engines.magnetism import initial_moments, starts_for
from hemiec.errors import EngineError
from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure, GapCheck

FUNCTIONAL = "GLLBSC"
#: Empty bands that are computed at least, and of these converged: the discontinuity is an average over the lowest.
_EMPTY, _CONVERGED = 8, 4
_P = 1


def compute_gllbsc_gap(
    structure: Structure,
    protocol: GpawProtocol,
    *,
    start: str | None = None,
    supercell: Sequence[Sequence[int]] | None = None,
    folder: Path | None = None,
) -> CalculationDoc:
    """Return the fundamental gap of a structure at fixed geometry with GLLB-SC, from one magnetic start.

    Band edges are looked for on the protocol's mesh, at the parent's special points and on the denser mesh, all of
    which also tell the orbital that the discontinuity belongs to. A metal has no discontinuity.

    Parameters
    ----------
    structure
        Cell and positions.
    protocol
        Cutoff, meshes and retry ladder; its functional is GLLBSC.
    start
        Magnetic arrangement; None for the protocol's first that the composition can have.
    supercell
        Rows: the cell vectors in units of the parent's, shape=(3, 3); default the unit matrix.
    folder
        Where files go; default the current one.

    Returns
    -------
    CalculationDoc
        ``band_gap`` and ``direct_gap`` hold the discontinuity; band edges are eigenvalues. The direct gap takes the
        discontinuity of the conduction minimum. The energy is not one that can be compared.

    Raises
    ------
    EngineError
        If GPAW has no libxc, a dataset is missing and cannot be generated, or the cell has a net moment.
    NotConvergedError
        If no attempt of the retry ladder converges.
    """
    require_libxc()
    symbols = [site.specie.symbol for site in structure]
    if start is None:
        start = next(iter(starts_for(symbols, protocol.spin)), None)
    moments = initial_moments(structure, start, protocol.spin)
    _refuse_net_moment(structure, protocol, start, moments)
    ensure_datasets(symbols, FUNCTIONAL)
    scf = _FormerScf(structure, protocol, moments, folder=folder or Path.cwd())
    calc = scf.solve(scf.atoms())
    moment = float(calc.get_magnetic_moment())
    if abs(moment) > MOMENT_TOLERANCE:
        raise EngineError(
            f"{structure.formula}: the spins hold different numbers of electrons (moment {moment:.2f}); GPAW's "
            "GLLB-SC takes its reference level from half of the electrons in each.",
            mend="use a PBE+U or a hybrid protocol for ferro- and ferrimagnets",
        )
    gap = _GapSearch(scf)
    if gap.edges is not None and protocol.band_edge_points:
        gap.look_at(folded_points(protocol.band_edge_points, supercell))
    check = None
    if gap.edges is not None and protocol.check_kpoint_spacing_per_A is not None:
        mesh = kpoint_mesh(structure, protocol.check_kpoint_spacing_per_A)
        gap.look_at({"size": mesh, "gamma": True})
        discontinuity = gap.discontinuity()
        check = GapCheck(kpoint_mesh=list(mesh), band_gap=gap.value(discontinuity), is_metal=gap.edges is None)
    else:
        discontinuity = gap.discontinuity()
    electronic = _electronic(scf, structure, gap, discontinuity, check)
    return calculation_doc(scf, structure, kind="gap", start=start, electronic=electronic)


def require_libxc() -> None:
    """Raise EngineError if GPAW is missing or was built without libxc, whose PBEsol GLLB-SC is made of."""
    require_gpaw()
    import gpaw.cgpaw as cgpaw

    if not hasattr(cgpaw, "lxcXCFuncNum"):
        raise EngineError(
            "GLLB-SC needs libxc, and GPAW was built without it.",
            mend="apt-get install libxc-dev, then `make clean setup` (pip: --no-cache-dir --no-binary gpaw)",
        )


def _refuse_net_moment(
    structure: Structure, protocol: GpawProtocol, start: str | None, moments: Sequence[float]
) -> None:
    """Raise EngineError unless the start is without moments on purpose, or its moments cancel."""
    magnetic = sorted({s.specie.symbol for s in structure if s.specie.symbol in protocol.spin.moments})
    if magnetic and start is None:
        raise EngineError(
            f"{structure.formula}: no magnetic start of protocol {protocol.name} fits {', '.join(magnetic)} in this "
            "cell, and GLLB-SC takes antiferromagnets only.",
            mend="use a cell with an even number of magnetic sites, or `start: nonmagnetic` for low-spin states",
        )
    if abs(sum(moments)) > MOMENT_TOLERANCE:
        raise EngineError(
            f"{structure.formula}: the {start} start has a net moment of {sum(moments):.1f}; GPAW's GLLB-SC takes its "
            "reference level from half of the electrons in each spin and would be wrong.",
            mend="use an antiferromagnetic start whose moments cancel, or a PBE+U protocol",
        )


def percentage(bands: str, n_filled: int) -> int:
    """Return a number of bands given in per cent of the filled ones, such as ``130%``.

    Raises
    ------
    EngineError
        If it is not a percentage.
    """
    if not re.fullmatch(r"\d+(\.\d+)?%", bands):
        raise EngineError(f"`bands` of a GLLB-SC protocol: expected a percentage, got {bands!r}.", mend="such as 130%")
    return math.ceil(float(bands[:-1]) / 100 * n_filled)


class _FormerScf(Scf):
    """The retry ladder for functionals that run in GPAW's former code; it leaves no restart."""

    def _build(self, settings: GpawAttempt) -> Any:
        self.output = unused_path(self.folder / OUTPUT_FILE)
        return build_calculator(
            self.structure,
            self.protocol,
            settings,
            spin_polarised=self.spin_polarised,
            txt=self.output,
            nbands=max(percentage(self.protocol.bands, self.n_filled), self.n_filled + _EMPTY),
            convergence=self.protocol.convergence.model_dump() | {"bands": self.n_filled + _CONVERGED},
        )

    @property
    def n_filled(self) -> int:
        """Filled bands of each spin, which without a net moment holds half of the valence electrons."""
        from gpaw.setup_data import SetupData

        symbols = [site.specie.symbol for site in self.structure]
        electrons = {s: float(SetupData(s, FUNCTIONAL, self.protocol.datasets.get(s, "paw")).Nv) for s in set(symbols)}
        return math.ceil(sum(electrons[s] for s in symbols) / 2)

    def _iterate(self, calc: Any, atoms: Atoms, energies: list[float]) -> None:
        from ase.units import Ha

        def watch() -> None:
            energy = float(calc.hamiltonian.e_total_extrapolated) * Ha
            if not math.isfinite(energy):
                raise FloatingPointError(f"the energy is {energy}")
            energies.append(energy)
            self.check_walltime()

        calc.attach(watch, 1)
        atoms.calc = calc
        atoms.get_potential_energy()

    def _save(self, calc: Any, atoms: Atoms) -> None:
        """Leave nothing: the former code's files are as large as its wave functions."""

    def _out_of_time(self) -> EngineError:
        return EngineError(
            f"{self.structure.formula}: reached the walltime of {self.protocol.walltime_h} h, without a restart.",
            mend="raise `walltime_h` of the protocol",
        )


class _GapSearch:
    """Band edges over several sets of k-points, and the calculators that hold their orbitals."""

    def __init__(self, scf: Scf) -> None:
        self.scf = scf
        self.calculators = [scf.calc]
        self.edges: BandEdges | None = mesh_edges(scf)

    def look_at(self, kpoints: Any) -> None:
        """Take these k-points in at fixed density and potential; bands that overlap there make it a metal."""
        if self.edges is None:
            return
        self.scf.check_walltime()
        bands = max(self.edges.n_occupied) + _CONVERGED
        convergence = {"eigenstates": self.scf.protocol.convergence.eigenstates, "bands": bands}
        # A mesh is reduced by symmetry; a list of points is what it is.
        changes = {} if isinstance(kpoints, dict) else {"symmetry": "off"}
        calc = self.scf.calc.fixed_density(kpts=kpoints, txt=None, convergence=convergence, **changes)
        # The filling is known, so bands that cross somewhere show as an overlap and not as another filling.
        found = band_edges(eigenvalues_of(calc), self.edges.valence_maximum, self.edges.n_occupied)
        merged = self.edges.merge(found) if found else None
        self.edges = merged.resolved(self.scf.settings.smearing_eV) if merged else None
        self.calculators.append(calc)

    def discontinuity(self) -> float | None:
        """Return the derivative discontinuity in eV, or None for a metal.

        The conduction minimum is that of eigenvalue plus jump, over all k-points and spins.
        """
        if self.edges is None:
            return None
        spins = range(len(self.edges.n_occupied))
        tops, bottoms = self._extrema()
        response = self.calculators[0].hamiltonian.xc.response
        # One spin: GPAW wants numbers; two: one of each per spin.
        references = (tops, bottoms) if len(spins) == 2 else (tops[0], bottoms[0])
        jump = response.calculate_discontinuity_potential(*references)
        minima = []
        for calc in self.calculators:
            for spin in spins:
                _, above_lowest = calc.hamiltonian.xc.response.calculate_discontinuity(jump, spin=spin)
                lowest = float(eigenvalues_of(calc)[spin, :, self.edges.n_occupied[spin]].min())
                minima.append(lowest + float(above_lowest))
        return min(minima) - self.edges.conduction_minimum

    def _extrema(self) -> tuple[list[float], list[float]]:
        """Return the highest filled and the lowest empty eigenvalue of each spin over all k-points, in eV."""
        assert self.edges is not None
        tops, bottoms = [], []
        for spin, n in enumerate(self.edges.n_occupied):
            levels = np.concatenate([eigenvalues_of(calc)[spin][:, n - 1 : n + 1] for calc in self.calculators])
            tops.append(float(levels[:, 0].max()))
            bottoms.append(float(levels[:, 1].min()))
        return tops, bottoms

    def value(self, discontinuity: float | None) -> float:
        """Return the fundamental gap in eV; 0 for a metal."""
        return 0.0 if self.edges is None or discontinuity is None else self.edges.gap + discontinuity


def _electronic(
    scf: Scf, structure: Structure, search: _GapSearch, discontinuity: float | None, check: GapCheck | None
) -> ElectronicStructure:
    calc, smearing, edges = scf.calc, scf.settings.smearing_eV, search.edges
    fermi = float(calc.get_fermi_level())
    eigenvalues, weights = eigenvalues_of(calc), np.array(calc.get_k_point_weights())
    oxygens = [i for i, site in enumerate(structure) if site.specie.symbol == "O"]
    projections = _orbital_weights(calc, oxygens, _P) if oxygens else None
    return ElectronicStructure(
        band_gap=search.value(discontinuity),
        direct_gap=None if edges is None or discontinuity is None else edges.direct_gap + discontinuity,
        is_metal=edges is None,
        valence_band_maximum=edges.valence_maximum if edges else None,
        conduction_band_minimum=edges.conduction_minimum if edges else None,
        derivative_discontinuity=discontinuity,
        fermi_level=fermi,
        total_moment=float(calc.get_magnetic_moment()),
        site_moments=[float(m) for m in calc.get_magnetic_moments()],
        oxygen_2p_center=None if projections is None else band_center(eigenvalues, weights, projections, fermi),
        dos_at_fermi_level=dos_at_fermi_level(eigenvalues, weights, fermi, smearing),
        kpoint_mesh=list(kpoint_mesh(structure, scf.protocol.kpoint_spacing_per_A)),
        smearing_eV=smearing,
        spin_polarised=scf.spin_polarised,
        kpoint_check=check,
    )


def _orbital_weights(calc: Any, atoms: list[int], ell: int) -> NDArray[np.float64]:
    """Return each state's weight on the bound valence orbitals of some atoms, shape=(n_spins, n_kpoints, n_bands)."""
    from gpaw.dos import get_projector_numbers

    columns = {atom: get_projector_numbers(calc.setups[atom], ell) for atom in atoms}
    weights = np.zeros((calc.get_number_of_spins(), len(calc.get_ibz_k_points()), calc.get_number_of_bands()))
    order = np.zeros(weights.shape, dtype=int)
    for point in calc.wfs.kpt_u:
        weights[point.s, point.k] = sum(
            (np.abs(point.P_ani[atom][:, columns[atom]]) ** 2).sum(axis=1) for atom in atoms
        )
        order[point.s, point.k] = np.argsort(point.eps_n)
    return np.take_along_axis(weights, order, axis=2)
