"""A GPAW calculator from a protocol, and what it needs to be right: datasets, U, elements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Structure

from hemiec import __version__
from hemiec.engines.electronic import kpoint_mesh
from hemiec.engines.gpaw.protocol import GpawAttempt, GpawProtocol
from hemiec.engines.makers import refuse_elements
from hemiec.errors import EngineError

OUTPUT_FILE = "gpaw.txt"
_SHELLS = {"d": 2, "f": 3}


def atoms_of(structure: Structure, moments: Sequence[float]) -> Atoms:
    """Return ASE atoms with these starting moments (Bohr magnetons), coordinates not wrapped into the cell."""
    return Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.lattice.get_cartesian_coords(structure.frac_coords),
        cell=structure.lattice.matrix,
        pbc=True,
        magmoms=list(moments),
    )


def structure_of(atoms: Atoms, like: Structure) -> Structure:
    """Return a structure with the species and site properties of ``like`` and the geometry of the atoms."""
    return Structure(
        np.array(atoms.cell),
        like.species_and_occu,
        atoms.positions,
        coords_are_cartesian=True,
        site_properties=like.site_properties,
        labels=like.labels,
    )


def check_elements(symbols: Sequence[str], protocol: GpawProtocol) -> None:
    """Raise EngineError if the protocol or the installed datasets do not treat one of the elements.

    Raises
    ------
    EngineError
        For elements that the protocol refuses, elements without dataset, and a U on a shell that the dataset lacks.
    """
    refuse_elements(set(symbols), protocol)
    for symbol in sorted(set(symbols)):
        shells = _valence_shells(symbol, protocol.functional, protocol.datasets.get(symbol, "paw"))
        u = protocol.hubbard_u.get(symbol)
        if u is not None and _SHELLS[u.orbital] not in shells:
            raise EngineError(
                f"protocol {protocol.name}: U on {symbol} {u.orbital}, but its PAW dataset has no valence "
                f"{u.orbital} states.",
                mend=f"take {symbol} out of `hubbard_u`, or name another shell",
            )


@lru_cache(maxsize=256)
def _valence_shells(symbol: str, functional: str, dataset: str) -> frozenset[int]:
    """Return the angular momenta of an element's valence states in its PAW dataset."""
    require_gpaw()
    from gpaw.setup_data import SetupData
    from gpaw.xc import XC

    setup_functional = XC(functional).get_setup_name()
    try:
        data = SetupData(symbol, setup_functional, dataset)
    except FileNotFoundError as error:
        name = f"{symbol}.{setup_functional}" if dataset == "paw" else f"{symbol}.{dataset}.{setup_functional}"
        raise EngineError(
            f"no PAW dataset {name} for GPAW.",
            mend="pip install gpaw-data, or `gpaw install-data FOLDER`; set GPAW_SETUP_PATH to datasets of your own",
        ) from error
    return frozenset(ell for n, ell in zip(data.n_j, data.l_j, strict=True) if n > 0)


def require_gpaw() -> None:
    """Raise EngineError if GPAW cannot be imported."""
    try:
        import gpaw  # noqa: F401
    except ImportError as error:
        raise EngineError("GPAW is not installed.", mend="run `make setup`, or pip install 'hemiec[gpaw]'") from error


def setups(symbols: Sequence[str], protocol: GpawProtocol) -> dict[str, str]:
    """Return GPAW's ``setups`` keyword: dataset type and U of each element that has either."""
    found = {}
    for symbol in sorted(set(symbols)):
        u = protocol.hubbard_u.get(symbol)
        name = protocol.datasets.get(symbol, "")
        if u is not None:
            name += f":{u.orbital},{u.value_eV}"
        if name:
            found[symbol] = name
    return found


def mixer_of(settings: GpawAttempt, *, spin_polarised: bool) -> dict[str, Any]:
    """Return the mixer of an attempt: GPAW's ``multi`` needs two spins, so without them it gives way to ``msr1``."""
    mixer = dict(settings.mixer)
    return {"name": "msr1"} if mixer.get("name") == "multi" and not spin_polarised else mixer


def build_calculator(
    structure: Structure,
    protocol: GpawProtocol,
    settings: GpawAttempt,
    *,
    spin_polarised: bool,
    txt: str | Path | IO[str] | None = OUTPUT_FILE,
    **changes: Any,
) -> Any:
    """Return a GPAW calculator with the protocol's settings, not yet run.

    Parameters
    ----------
    structure
        Cell and species; decides the mesh and the setups.
    protocol
        Cutoff, mesh, U, convergence.
    settings
        Rung of the retry ladder: mixer, smearing, iterations.
    spin_polarised
        Whether both spins are computed.
    txt
        GPAW's output file; None for none.
    changes
        GPAW keywords that replace the protocol's.
    """
    require_gpaw()
    from gpaw import GPAW

    keywords: dict[str, Any] = {
        "mode": {"name": "pw", "ecut": protocol.cutoff_eV},
        "xc": protocol.functional,
        "kpts": {
            "size": kpoint_mesh(structure, protocol.kpoint_spacing_per_A),
            "gamma": protocol.kpoints_gamma_centred,
        },
        "occupations": {"name": "fermi-dirac", "width": settings.smearing_eV},
        "mixer": mixer_of(settings, spin_polarised=spin_polarised),
        "setups": setups([site.specie.symbol for site in structure], protocol),
        "convergence": protocol.convergence.model_dump(),
        "nbands": protocol.bands,
        "maxiter": settings.max_iterations,
        "spinpol": spin_polarised,
        "txt": txt,
    }
    return GPAW(**(keywords | changes))


def eigenvalues_of(calc: Any) -> NDArray[np.float64]:
    """Return the eigenvalues of a finished calculator in eV, shape=(n_spins, n_kpoints, n_bands), sorted."""
    n_kpoints = len(calc.get_ibz_k_points())
    return np.array(
        [
            [np.sort(calc.get_eigenvalues(kpt=k, spin=s)) for k in range(n_kpoints)]
            for s in range(calc.get_number_of_spins())
        ]
    )


def datasets_of(calc: Any) -> dict[str, str]:
    """Return the type and fingerprint of each element's PAW dataset in a finished calculator."""
    return {s.symbol: f"{s.type} {s.fingerprint}" for s in calc.setups}


def versions() -> dict[str, str]:
    """Return the versions that decide the numbers: hemiec, GPAW, its datasets, ASE and atomate2."""
    return {"hemiec": __version__, **{p: version(p) for p in ("gpaw", "gpaw-data", "ase", "atomate2")}}
