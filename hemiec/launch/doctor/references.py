"""Check of the shipped reference energies for `hemiec doctor`: are they those of the model that is installed here?"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from hemiec.engines.mlip.potential import calculator
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import load_mlip
from hemiec.errors import EngineError
from hemiec.settings import Settings
from hemiec.thermo.references.shipped import not_converging, shipped_outputs, shipped_versions, version_differences
from hemiec.thermo.references.table import all_phases
from hemiec.workflows.references import reference_uuid

DEFAULT = "mlip-chgnet"
#: Small cells of different elements whose energy is computed again, at the shipped geometry.
PROBES = ("SrO-rocksalt", "Co-hcp", "Li2O-antifluorite", "LiCoO2-layered-rock-salt", "BaTiO3-cubic-perovskite")
#: Single precision on another processor moves an energy by a few 1e-6 eV/atom; other weights by far more.
_TOLERANCE = 5e-4


def check_references(settings: Settings) -> str:
    """Return how many reference phases are shipped, by which version of the model, and that it computes the same here.

    Raises
    ------
    EngineError
        If the protocol's physics is not that of the shipped energies, or the installed model gives others.
    """
    protocol = load_mlip(DEFAULT)
    protocol_hash = protocol.hash_of("relax")
    outputs = shipped_outputs(protocol_hash)
    package = protocol.model.package
    if not outputs:
        raise EngineError(
            f"no reference energies are shipped for {DEFAULT} as it is now ({protocol_hash}).",
            mend="`hemiec references compute --elements ...` computes them; campaigns do so for elements and oxides",
        )
    phases = {phase.phase_id: reference_uuid(phase, protocol) for phase in all_phases()}
    tried = not_converging(protocol_hash)
    missing = [name for name, uuid in phases.items() if uuid not in outputs and name not in tried]
    theirs = shipped_versions(protocol_hash).get(package)
    text = f"{len(outputs)} reference phases by {package} {theirs}"
    if missing:
        text += f"; {len(missing)} tabulated ones are not shipped, such as {missing[0]}"
    try:
        ours = version(package)
    except PackageNotFoundError:
        return f"{text}; {package} is not installed here, so nothing was compared"
    compared = {name: phases[name] for name in PROBES if phases.get(name) in outputs}
    worst = max((abs(_difference(outputs[uuid], protocol)) for uuid in compared.values()), default=0.0)
    if worst > _TOLERANCE:
        raise EngineError(
            f"{package} {ours} is installed, and its energies differ by {1000 * worst:.2g} meV/atom from the shipped "
            f"ones ({package} {theirs}): the two are no one scale.",
            mend=f"install {package}=={theirs}; or write `shipped_references: false` into campaigns and run "
            "`hemiec references compute --recompute`",
        )
    same = f"{package} {ours} is installed and gives" if version_differences(protocol_hash) else "it gives here"
    return f"{text}; {same} the same energies of {len(compared)} of them within {1000 * _TOLERANCE:g} meV/atom"


def _difference(output: dict[str, object], protocol: MlipProtocol) -> float:
    """Return the energy that the installed model gives at the shipped geometry minus the shipped one, in eV/atom."""
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    result = output["output"]
    assert isinstance(result, dict)
    atoms = AseAtomsAdaptor.get_atoms(Structure.from_dict(result["structure"]), msonable=False)
    atoms.calc = calculator(protocol)
    return float(atoms.get_potential_energy()) / len(atoms) - float(result["energy_per_atom"])
