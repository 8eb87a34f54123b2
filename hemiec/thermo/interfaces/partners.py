"""What candidates touch in a battery: lithium and the solid electrolytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pymatgen.core import Composition

#: The elements that move, which reservoirs hold and whose potentials are compared.
MOBILE = ("Li", "O")


@dataclass(frozen=True)
class Partner:
    """What a candidate may touch in a battery.

    ``mixture`` is the formula of a reference phase to how many formula units of it make one of the partner; the lowest
    polymorph in the set counts.
    """

    name: str
    mixture: tuple[tuple[str, float], ...]
    role: Literal["electrode", "electrolyte"]
    why: str

    @cached_property
    def composition(self) -> Composition:
        """Amounts of the elements in one formula unit."""
        total = Composition()
        for formula, units in self.mixture:
            total += Composition(formula) * units
        return total

    @cached_property
    def elements(self) -> frozenset[str]:
        """Symbols of its elements."""
        return frozenset(element.symbol for element in self.composition)


PARTNERS = (
    Partner("Li", (("Li", 1.0),), "electrode", "the anode of highest energy density"),
    Partner("Li3PS4", (("Li3PS4", 1.0),), "electrolyte", "sulfide glass-ceramics"),
    Partner("Li6PS5Cl", (("Li6PS5Cl", 1.0),), "electrolyte", "argyrodites, the sulfides most used"),
    Partner("Li7La3Zr2O12", (("Li7La3Zr2O12", 1.0),), "electrolyte", "garnets"),
    Partner("Li3YCl6", (("Li3YCl6", 1.0),), "electrolyte", "halides, used beside oxide cathodes"),
    Partner(
        "Li1.3Al0.3Ti1.7(PO4)3",
        # On the tie line of two ordered cells: no small cell holds 0.3 Al in 2.
        (("LiTi2(PO4)3", 0.4), ("Li3AlTi3(PO4)6", 0.3)),
        "electrolyte",
        "NASICON phosphates, stable in air",
    ),
)
