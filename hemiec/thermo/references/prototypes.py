"""Competing phases from prototypes: a structure type with the cations that adopt it, scaled to their size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from math import gcd, prod
from typing import Any

from pydantic import Field

from hemiec.errors import ThermoError
from hemiec.schemas.quantity import Document

#: Shannon's radius of six-fold coordinated O2-, in angstrom (doi:10.1107/S0567739476001551).
_OXYGEN_RADIUS = 1.40
_ION = re.compile(r"([A-Z][a-z]?)(\d)")


class Prototype(Document):
    """A structure type, written with roles (A, B, C) in place of the cations."""

    name: str = Field(description="Name of the phases made from it.")
    prototype: str = Field(description="The structure type, by a compound that has it.")
    aflow: str | None = Field(
        description="Its label in the AFLOW Library of Crystallographic Prototypes, if it is there."
    )
    parent: dict[str, str] = Field(description="Role to the ion (symbol and charge) that the lattice belongs to.")
    formula: dict[str, int] = Field(description="Role or element to its number in a formula unit; unit 1.")
    space_group: int = Field(ge=1, le=230, description="International Tables number.")
    lattice: list[float] = Field(min_length=6, max_length=6, description="a, b, c in angstrom, angles in degrees.")
    sites: list[tuple[str, list[float]]] = Field(description="Role or element and fractional coordinates of orbits.")
    primitive_atoms: int = Field(description="Atoms in the primitive cell; unit 1.")
    source: str = Field(description="Where the structure is from.")


class Family(Document):
    """Prototypes with the ions that take each role; every combination is a phase."""

    prototypes: list[str] = Field(min_length=1, description="Names of prototypes.")
    ions: dict[str, list[str]] = Field(description="Role to ions (symbol and charge).")
    note: str = Field("", description="What to know about these phases.")


def expand(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the fields of a ReferencePhase for every combination of prototype and ions; no structure is made.

    Parameters
    ----------
    table
        ``radii`` (ion to radius in angstrom), ``prototypes`` and ``families``, as in competing_phases.yaml.

    Raises
    ------
    ThermoError
        If a family names a prototype, role or ion that the table does not have.
    """
    radii: Mapping[str, float] = table["radii"]
    prototypes = {entry["name"]: Prototype.model_validate(entry) for entry in table["prototypes"]}
    for entry in table["families"]:
        family = Family.model_validate(entry)
        for name in family.prototypes:
            if name not in prototypes:
                raise ThermoError(
                    f"competing phases: a family names the prototype {name!r}, which is not in the table."
                )
            prototype = prototypes[name]
            roles = list(prototype.parent)
            unknown = {ion for ions in family.ions.values() for ion in ions} - set(radii)
            if set(roles) != set(family.ions) or unknown:
                raise ThermoError(
                    f"competing phases: a family of {name} gives {', '.join(sorted(family.ions))} to roles "
                    f"{', '.join(roles)}; ions without a radius: {', '.join(sorted(unknown)) or 'none'}."
                )
            for ions in product(*(family.ions[role] for role in roles)):
                yield _phase(prototype, dict(zip(roles, ions, strict=True)), radii, family.note)


def _phase(prototype: Prototype, ions: Mapping[str, str], radii: Mapping[str, float], note: str) -> dict[str, Any]:
    symbols = {role: _symbol(ion) for role, ion in ions.items()}
    amounts: dict[str, int] = {}
    for role, amount in prototype.formula.items():
        element = symbols.get(role, role)
        amounts[element] = amounts.get(element, 0) + amount
    shared = gcd(*amounts.values())
    scale = _scale(prototype, ions, radii)
    a, b, c, *angles = prototype.lattice
    cations = sum(amount for element, amount in amounts.items() if element != "O")
    return {
        "formula": "".join(f"{e}{n // shared if n > shared else ''}" for e, n in amounts.items()),
        "phase": prototype.name,
        "prototype": prototype.prototype,
        "space_group": prototype.space_group,
        "lattice": [*(round(length * scale, 4) for length in (a, b, c)), *angles],
        "sites": [(symbols.get(species, species), coords) for species, coords in prototype.sites],
        "primitive_atoms": prototype.primitive_atoms,
        "oxidation_state": round(2 * amounts.get("O", 0) / cations, 4),
        "standard_state": False,
        "source": f"{prototype.source}; lattice scaled by {scale:.4f} for the radii of the cations",
        "note": note,
    }


def _scale(prototype: Prototype, ions: Mapping[str, str], radii: Mapping[str, float]) -> float:
    """Return the factor on all lengths: the geometric mean of cation-oxygen distances over that of the parent.

    Six-fold radii serve every coordination: only their ratio enters, and the cell relaxes.
    """
    weights = {role: prototype.formula[role] for role in ions}
    ratios = [
        ((radii[ion] + _OXYGEN_RADIUS) / (radii[prototype.parent[role]] + _OXYGEN_RADIUS)) ** weights[role]
        for role, ion in ions.items()
    ]
    return float(prod(ratios) ** (1 / sum(weights.values())))


def _symbol(ion: str) -> str:
    match = _ION.fullmatch(ion)
    if match is None:
        raise ThermoError(f"competing phases: {ion!r} is not an ion; expected a symbol with its charge, such as Fe3.")
    return match[1]
