"""Machine-learned potentials whose wheels carry their weights, as ASE calculators."""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from hemiec import __version__
from hemiec.engines.mlip.energy_forces import ChgnetEnergyForces
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.errors import EngineError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def calculator(protocol: MlipProtocol) -> Calculator:
    """Return the protocol's ASE calculator: energy in eV, forces in eV/angstrom; loaded once per process.

    Raises
    ------
    EngineError
        If the model's package is not installed.
    """
    return _load(protocol.model.force_field, tuple(sorted(protocol.model.calculator_kwargs.items())))


def hop_calculator(protocol: MlipProtocol) -> Calculator:
    """Return a calculator of the same energies and forces for saddle searches: it leaves out what they do not need.

    Raises
    ------
    EngineError
        If the model's package is not installed.
    """
    full = calculator(protocol)
    if protocol.model.force_field == "CHGNet":
        return ChgnetEnergyForces(full.model)
    return full


@lru_cache(maxsize=4)
def _load(force_field: str, kwargs: tuple[tuple[str, object], ...]) -> Calculator:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # CHGNet prints while it loads, also when told not to
            if force_field == "CHGNet":
                from chgnet.model.dynamics import CHGNetCalculator

                return CHGNetCalculator(verbose=False, **dict(kwargs))
            from sevenn.calculator import SevenNetCalculator

            return SevenNetCalculator(**dict(kwargs))
    except ImportError as error:
        raise EngineError(f"{force_field} is not installed.", mend="pip install 'hemiec[mlip]'") from error


def versions(protocol: MlipProtocol) -> dict[str, str]:
    """Return the versions that decide the numbers: hemiec, the model's package, atomate2 and ASE."""
    found = {"hemiec": __version__}
    for package in (protocol.model.package, "torch", "atomate2", "ase"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
