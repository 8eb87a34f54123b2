"""Band gaps: edges on the self-consistent mesh, at the parent's special points, and on a denser mesh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from hemiec.engines.electronic import BandEdges, band_edges, folded_points, kpoint_mesh
from hemiec.engines.gpaw.calculator import eigenvalues_of
from hemiec.engines.gpaw.document import calculation_doc, electronic_structure, mesh_edges
from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.gpaw.scf import Scf
from hemiec.engines.magnetism import initial_moments, starts_for
from hemiec.errors import EngineError
from hemiec.schemas.calculations import CalculationDoc, GapCheck


def compute_gap(
    structure: Structure,
    protocol: GpawProtocol,
    *,
    start: str | None = None,
    supercell: Sequence[Sequence[int]] | None = None,
    folder: Path | None = None,
    previous: Path | None = None,
) -> CalculationDoc:
    """Return the band gap of a structure at fixed geometry, from one magnetic start.

    The density is converged on the protocol's mesh; for insulators the eigenvalues are then computed at fixed
    density at the parent's special points, where cubic perovskites have their band edges, and on the denser mesh
    of the protocol. The gap is that over all these points, and a metal is what is one on any of them.

    Parameters
    ----------
    structure
        Cell and positions.
    protocol
        Cutoff, meshes, U, moments and retry ladder.
    start
        Magnetic arrangement; None for the protocol's first that the composition can have.
    supercell
        Rows: the cell vectors in units of the parent's, shape=(3, 3); default the unit matrix.
    folder
        Where files go; default the current one.
    previous
        Folder with a restart that is gone on from.

    Raises
    ------
    EngineError
        If the protocol or the datasets do not treat an element, or GPAW fails or is not installed.
    NotConvergedError
        If no attempt of the retry ladder converges.
    WalltimeError
        At the protocol's walltime.
    """
    start = start or first_start(structure, protocol)
    moments = initial_moments(structure, start, protocol.spin)
    scf = Scf(structure, protocol, moments, folder=folder or Path.cwd(), previous=previous)
    scf.solve(scf.atoms())
    edges, check = gap_edges(scf, structure, supercell)
    electronic = electronic_structure(scf, structure, edges=edges, check=check)
    return calculation_doc(scf, structure, kind="gap", start=start, electronic=electronic)


def compute_static(
    structure: Structure,
    protocol: GpawProtocol,
    *,
    start: str | None = None,
    with_stress: bool = False,
    folder: Path | None = None,
    previous: Path | None = None,
) -> CalculationDoc:
    """Return energy and forces of a structure as it is, and the stress if asked for.

    The gap in the document is that of the self-consistent mesh alone. Parameters and errors as :func:`compute_gap`;
    EngineError too for a protocol whose energies are not converged.
    """
    need_energies(protocol)
    start = start or first_start(structure, protocol)
    moments = initial_moments(structure, start, protocol.spin)
    scf = Scf(structure, protocol, moments, folder=folder or Path.cwd(), previous=previous)
    calc = scf.solve(scf.atoms())
    scf.check_walltime()
    return calculation_doc(
        scf,
        structure,
        kind="static",
        start=start,
        electronic=electronic_structure(scf, structure, edges=mesh_edges(scf)),
        forces=calc.get_forces(),
        stress=calc.get_stress() if with_stress else None,
    )


def first_start(structure: Structure, protocol: GpawProtocol) -> str | None:
    """Return the protocol's first magnetic start that the composition can have; None without magnetic elements."""
    starts = starts_for([site.specie.symbol for site in structure], protocol.spin)
    return starts[0] if starts else None


def need_energies(protocol: GpawProtocol) -> None:
    """Raise EngineError if the protocol's energies and forces are not converged."""
    if not protocol.energies:
        raise EngineError(
            f"protocol {protocol.name} is for gaps: at {protocol.cutoff_eV:g} eV its energies mean nothing.",
            mend="use one with `energies: true`, such as gpaw-standard",
        )


def gap_edges(
    scf: Scf, structure: Structure, supercell: Sequence[Sequence[int]] | None
) -> tuple[BandEdges | None, GapCheck | None]:
    """Return the edges over all k-points that the protocol names, None for a metal; and the check on a denser mesh."""
    protocol, smearing = scf.protocol, scf.settings.smearing_eV
    edges = mesh_edges(scf)
    if edges is not None and protocol.band_edge_points:
        scf.check_walltime()
        edges = _looked_for_at(scf.calc, protocol, edges, smearing, folded_points(protocol.band_edge_points, supercell))
    if edges is None or protocol.check_kpoint_spacing_per_A is None:
        return edges, None
    scf.check_walltime()
    mesh = kpoint_mesh(structure, protocol.check_kpoint_spacing_per_A)
    edges = _looked_for_at(scf.calc, protocol, edges, smearing, {"size": mesh, "gamma": True})
    return edges, GapCheck(kpoint_mesh=list(mesh), band_gap=edges.gap if edges else 0.0, is_metal=edges is None)


def _looked_for_at(
    calc: Any, protocol: GpawProtocol, edges: BandEdges, smearing_eV: float, kpoints: Any
) -> BandEdges | None:
    """Return the edges over earlier k-points and these, at the density of the calculator; None for a metal."""
    # A fixed number of bands: GPAW's "CBM+x" divides by zero where the first guess of the bands lies too low.
    filled, computed = max(edges.n_occupied), int(calc.get_number_of_bands())
    bands = max(filled + 1, min(filled + 4, computed - 2))
    fixed = calc.fixed_density(
        kpts=kpoints, txt=None, convergence={"eigenstates": protocol.convergence.eigenstates, "bands": bands}
    )
    # The filling is known, so bands that cross somewhere show as an overlap and not as another filling.
    found = band_edges(eigenvalues_of(fixed), edges.valence_maximum, edges.n_occupied)
    merged = edges.merge(found) if found else None
    return merged.resolved(smearing_eV) if merged else None
