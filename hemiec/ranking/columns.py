"""How people see the properties that a leaderboard can rank by: titles, units and digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hemiec.units import EV, EV_PER_ATOM


@dataclass(frozen=True)
class Column:
    """How people see one property.

    Parameters
    ----------
    property
        Name of a quantity of CandidateDoc.
    title
        In full, such as for a figure.
    heading
        Short, for the head of a table.
    unit
        Of its numbers.
    digits
        After the point.
    """

    property: str
    title: str
    heading: str
    unit: str
    digits: int

    @cached_property
    def phrase(self) -> str:
        """The title within a sentence."""
        return f"{self.title[0].lower()}{self.title[1:]}"


COLUMNS = (
    Column("band_gap", "Band gap", "Band gap", EV, 2),
    Column("migration_barrier", "Migration barrier", "Barrier", EV, 2),
    Column("formation_energy_per_atom", "Formation energy from the elements", "Formation energy", EV_PER_ATOM, 3),
    Column("formation_enthalpy_from_oxides_per_atom", "Formation enthalpy from oxides", "From oxides", EV_PER_ATOM, 3),
    Column("energy_above_hull", "Energy above the hull", "Above hull", EV_PER_ATOM, 3),
    Column("interface_reaction_energy", "Worst interface reaction energy", "Interface", EV_PER_ATOM, 3),
)
#: The same by the name of the property.
BY_PROPERTY = {column.property: column for column in COLUMNS}
