"""Inputs of VASP from a protocol: what pymatgen's Materials Project sets take from their files, taken from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pymatgen.core import Structure

from hemiec.engines.electronic import kpoint_mesh
from hemiec.engines.magnetism import initial_moments, starts_for
from hemiec.engines.vasp.protocol import VaspProtocol, VaspStep
from hemiec.errors import EngineError

if TYPE_CHECKING:
    from atomate2.vasp.sets.base import VaspInputGenerator
    from pymatgen.io.vasp import Kpoints

#: The Materials Project fitted its U to oxides and fluorides and uses it in them alone.
_ANIONS_WITH_U = {"O", "F"}
_ORBITAL_NUMBER = {"d": 2, "f": 3}


def magnetic_start(structure: Structure, protocol: VaspProtocol, start: str | None) -> str | None:
    """Return the start asked for, or the protocol's first that applies; None for a cell without magnetic ions."""
    applying = starts_for([site.specie.symbol for site in structure], protocol.spin)
    if start is None or not applying:
        return next(iter(applying), None)
    return start


def refuse_elements(structure: Structure, protocol: VaspProtocol) -> None:
    """Raise EngineError if the protocol does not treat one of the elements or names no POTCAR for it."""
    symbols = {site.specie.symbol for site in structure}
    if refused := sorted(symbols & set(protocol.refused_elements)):
        raise EngineError(
            f"protocol {protocol.name} does not treat {', '.join(refused)}: with the POTCAR "
            f"{', '.join(protocol.potcars.get(s, '(none)') for s in refused)} the 4f shell would be silently wrong.",
            mend=f"choose other cations, or write a protocol with parent {protocol.name} that gives them a POTCAR or a "
            "U on f and takes them out of `refused_elements`",
        )
    if missing := sorted(symbols - set(protocol.potcars)):
        raise EngineError(
            f"protocol {protocol.name} names no POTCAR for {', '.join(missing)}.",
            mend=f"write a protocol with parent {protocol.name} that names it under `potcars`",
        )


def sorted_order(structure: Structure) -> list[int]:
    """Return the indices of the sites in the order of the POSCAR: by electronegativity, else as they are."""
    return sorted(range(len(structure)), key=lambda i: structure[i])


def prepare(structure: Structure, protocol: VaspProtocol, moments: Sequence[float]) -> Structure:
    """Return the structure in the POSCAR's order with the starting moments as ``magmom``, other properties gone."""
    refuse_elements(structure, protocol)
    order = sorted_order(structure)
    return Structure(
        structure.lattice,
        [structure[i].specie.symbol for i in order],
        structure.frac_coords[order],
        site_properties={"magmom": [moments[i] for i in order]},
    )


def uses_u(structure: Structure, protocol: VaspProtocol) -> dict[str, float]:
    """Return element to effective U in eV, of the elements of the structure that have one."""
    symbols = {site.specie.symbol for site in structure}
    if not symbols & _ANIONS_WITH_U:
        return {}
    return {s: u.value_eV for s, u in protocol.hubbard_u.items() if s in symbols and u.value_eV > 0}


def input_generator(
    prepared: Structure,
    protocol: VaspProtocol,
    step: VaspStep,
    *,
    spin_polarised: bool,
    more: dict[str, Any] | None = None,
) -> VaspInputGenerator:
    """Return atomate2's generator with the settings of the protocol and no others.

    Parameters
    ----------
    prepared
        From :func:`prepare`.
    protocol, step
        Which run.
    spin_polarised
        Whether both spin channels are computed.
    more
        INCAR tags over those of the step.
    """
    from atomate2.vasp.sets.base import VaspInputGenerator

    incar: dict[str, Any] = {**step.incar, "ISPIN": 2 if spin_polarised else 1, **(more or {})}
    if spin_polarised:
        incar["MAGMOM"] = {}
    incar |= _hubbard_tags(prepared, protocol)
    kpoints = kpoints_of(prepared, step)
    return VaspInputGenerator(
        config_dict={
            "INCAR": incar,
            "POTCAR_FUNCTIONAL": protocol.potcar_functional,
            "POTCAR": dict(protocol.potcars),
            "KPOINTS": {},
        },
        user_kpoints_settings=kpoints if kpoints is not None else {},
        auto_ismear=False,
        auto_metal_kpoints=False,
        inherit_incar=False,
        sort_structure=False,
    )


def kpoints_of(structure: Structure, step: VaspStep) -> Kpoints | None:
    """Return the KPOINTS of a step, or None if KSPACING in the INCAR makes them."""
    from pymatgen.io.vasp import Kpoints

    if step.kpoint_density_A3 is None:
        return None
    regular = Kpoints.automatic_density_by_vol(structure, step.kpoint_density_A3, force_gamma=True)
    if step.zero_weight_density_A3 is None:
        return regular
    dense = Kpoints.automatic_density_by_vol(structure, step.zero_weight_density_A3, force_gamma=True)
    points, weights = _half_mesh(regular.kpts[0])
    extra, _ = _half_mesh(dense.kpts[0])
    return Kpoints(
        comment=f"mesh {regular.kpts[0]} and, with weight 0, {dense.kpts[0]}",
        style=Kpoints.supported_modes.Reciprocal,
        num_kpts=len(points) + len(extra),
        kpts=[tuple(p) for p in np.vstack([points, extra]).tolist()],
        kpts_weights=[*weights, *[0] * len(extra)],
    )


def mesh_of(structure: Structure, step: VaspStep, *, zero_weight: bool = False) -> list[int]:
    """Return the divisions of a step's mesh, or of that of weight 0; for KSPACING by VASP's rule."""
    from pymatgen.io.vasp import Kpoints

    density = step.zero_weight_density_A3 if zero_weight else step.kpoint_density_A3
    if density is None:
        return list(kpoint_mesh(structure, float(step.incar["KSPACING"])))  # type: ignore[arg-type]
    return [int(n) for n in Kpoints.automatic_density_by_vol(structure, density, force_gamma=True).kpts[0]]


def write_inputs(
    structure: Structure,
    protocol: VaspProtocol,
    step: VaspStep,
    folder: Path,
    *,
    start: str | None = None,
    potcar_spec: bool = False,
) -> None:
    """Write INCAR, POSCAR, KPOINTS and POTCAR of one run, to look at or to run by hand.

    Parameters
    ----------
    structure
        Cell and positions.
    protocol, step
        Which run.
    folder
        Created if missing.
    start
        Magnetic start; None for the protocol's first that applies.
    potcar_spec
        Write the names of the POTCARs (POTCAR.spec) in place of the licensed files.

    Raises
    ------
    EngineError
        If the protocol does not treat an element.
    """
    from atomate2.vasp.files import write_vasp_input_set

    start = magnetic_start(structure, protocol, start)
    prepared = prepare(structure, protocol, initial_moments(structure, start, protocol.spin))
    generator = input_generator(prepared, protocol, step, spin_polarised=start is not None)
    folder.mkdir(parents=True, exist_ok=True)
    write_vasp_input_set(
        prepared, generator, directory=folder, potcar_spec=potcar_spec, clean_prev=False, apply_incar_updates=False
    )


def steps_of(protocol: VaspProtocol, kind: Literal["relax", "static", "gap"]) -> list[tuple[str, VaspStep]]:
    """Return the named runs of a kind of calculation, in the order in which they run.

    Raises
    ------
    EngineError
        If the protocol does not relax.
    """
    if kind == "relax" and protocol.relax is None:
        raise EngineError(f"protocol {protocol.name} does not relax structures.", mend="use one that has `relax`")
    steps = [(f"relax {n}", protocol.relax[n]) for n in sorted(protocol.relax)] if kind == "relax" else []  # type: ignore[index, arg-type]
    steps += [(f"static {n}", protocol.static[n]) for n in sorted(protocol.static)]
    if kind == "gap" and protocol.gap_check is not None:
        steps.append(("gap check", protocol.gap_check))
    return steps


def _half_mesh(divisions: tuple[int, int, int]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[int]]:
    """Return one of each pair k, -k of a zone-centred mesh, with its weight.

    Symmetry of the crystal is not used: magnetic moments may break it.
    """
    n = np.array(divisions)
    grid = np.stack(np.meshgrid(*(np.arange(d) for d in n), indexing="ij"), axis=-1).reshape(-1, 3)
    opposite = (-grid) % n
    rank = grid @ [n[1] * n[2], n[2], 1]
    rank_opposite = opposite @ [n[1] * n[2], n[2], 1]
    kept = rank <= rank_opposite
    weights = np.where(rank == rank_opposite, 1, 2)[kept]
    assert math.prod(divisions) == int(weights.sum())
    fractions = grid[kept] / n
    return fractions - np.round(fractions - 1e-9), [int(w) for w in weights]


def _hubbard_tags(structure: Structure, protocol: VaspProtocol) -> dict[str, Any]:
    """Return the LDAU tags (doi:10.1103/PhysRevB.57.1505), per element of the POSCAR."""
    values = uses_u(structure, protocol)
    if not values:
        return {}
    orbitals = {s: _ORBITAL_NUMBER[protocol.hubbard_u[s].orbital] for s in values}
    return {
        "LDAU": True,
        "LDAUTYPE": 2,
        "LDAUU": values,
        "LDAUJ": dict.fromkeys(values, 0),
        "LDAUL": orbitals,
        "LDAUPRINT": 1,
    }
