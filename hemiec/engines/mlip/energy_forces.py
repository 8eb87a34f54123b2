"""CHGNet's energy and forces alone: hops need neither its stresses nor its magnetic moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.io.ase import AseAtomsAdaptor

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet


class ChgnetEnergyForces(Calculator):
    """ASE calculator of a CHGNet model: energy in eV and forces in eV/angstrom, nothing else.

    The model's own calculator also differentiates with respect to strain, and keeps the graph of every derivative for
    a second one, as training needs it. Without both a call takes half the time; energies are the same, forces to
    rounding (1e-5 eV/angstrom).
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, model: CHGNet) -> None:
        super().__init__()
        self.model = model.eval()

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = tuple(all_changes)
    ) -> None:
        """Compute energy and forces of ``atoms``."""
        import torch

        super().calculate(atoms, properties, system_changes)
        structure = AseAtomsAdaptor.get_structure(self.atoms)
        graph = self.model.graph_converter(structure)
        device = next(self.model.parameters()).device
        energy = self.model.forward([graph.to(device)], task="e")["e"][0]
        if self.model.is_intensive:
            energy = energy * len(structure)
        # The graph's fractional coordinates are the leaf: dE/df = -F.A for cell vectors in the rows of A.
        (slope,) = torch.autograd.grad(energy.sum(), graph.atom_frac_coord)
        forces = -slope.cpu().numpy().astype(float) @ np.linalg.inv(structure.lattice.matrix).T
        value = float(energy.detach().cpu())
        self.results = {"energy": value, "free_energy": value, "forces": forces}
