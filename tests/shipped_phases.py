"""The reference phases that come with hemiec, as a hull takes them."""

from __future__ import annotations

from functools import cache

from pymatgen.core import Composition

from hemiec.engines.protocol import load_mlip
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.phases import PhaseEnergy, PhaseSet
from hemiec.thermo.references.shipped import shipped_outputs


@cache
def shipped() -> PhaseSet:
    """Return all phases that are shipped with CHGNet, with the protocol's corrections."""
    protocol = load_mlip("mlip-chgnet")
    found = []
    for uuid, document in shipped_outputs(protocol.hash_of("relax")).items():
        phase_id = document["metadata"]["hemiec"]["phase_id"]
        composition = Composition(phase_id.split("-")[0])
        energy = corrected_energy_per_atom(
            phase_id, composition, document["output"]["energy_per_atom"], protocol.thermo
        )
        found.append(PhaseEnergy(phase_id, composition, energy, protocol.hash, uuid))
    return PhaseSet(found)
