"""Reference phases: which there are, which a candidate needs, and the structures they start from."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from functools import cache, cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field

from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Document
from hemiec.thermo.references.prototypes import expand

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: pymatgen's default of 0.25 angstrom averages real distortions away (the Mo pairs of MoO2).
_PRIMITIVE_TOLERANCE = 0.01
#: Elements whose standard state is a molecule: relaxed in a box, whose cell is kept.
MOLECULES = frozenset({"O2", "F2", "Cl2"})


class ReferencePhase(Document):
    """Starting structure of an element, a binary oxide or a competing phase."""

    # No brackets: programs read the elements from what stands before the first hyphen of the phase_id.
    formula: str = Field(
        description="Reduced formula without brackets; that of the molecule for O2, F2 and Cl2.",
        pattern=r"^([A-Z][a-z]?\d*)+$",
    )
    phase: str = Field(description="Common name of the phase.")
    prototype: str = Field(description="Structure type.")
    space_group: int = Field(ge=1, le=230, description="International Tables number.")
    lattice: list[float] = Field(min_length=6, max_length=6, description="a, b, c in angstrom, angles in degrees.")
    sites: list[tuple[str, list[float]]] = Field(description="Species and fractional coordinates, one per orbit.")
    primitive_atoms: int = Field(description="Atoms in the primitive cell; unit 1.")
    oxidation_state: float = Field(description="Mean formal oxidation state of the cations, in e; 0 in elements.")
    standard_state: bool = Field(description="Whether tables of standard enthalpies refer to this phase.")
    source: str = Field(description="Where the structure is from.")
    note: str = Field("", description="What to know about it.")

    @property
    def phase_id(self) -> str:
        """Name usable as a key, such as ``La2O3-A-type-sesquioxide``."""
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.formula}-{self.phase}").strip("-")

    @property
    def is_molecule(self) -> bool:
        """Whether it is a molecule in a box, whose cell is kept."""
        return self.formula in MOLECULES

    @cached_property
    def elements(self) -> frozenset[str]:
        """Symbols of its elements."""
        return frozenset(species for species, _ in self.sites)

    @property
    def cation(self) -> str:
        """The element that is not oxygen (oxygen itself for O2), the first if there are several."""
        return next((species for species, _ in self.sites if species != "O"), "O")

    def structure(self) -> Structure:
        """Return the primitive cell, coordinates as tabulated.

        Raises
        ------
        ThermoError
            If the table entry does not give the number of atoms it states.
        """
        sites = tuple((species, tuple(coords)) for species, coords in self.sites)
        structure = _from_spacegroup(self.space_group, tuple(self.lattice), sites).copy()
        if len(structure) != self.primitive_atoms:
            raise ThermoError(
                f"reference phase {self.phase_id}: {len(structure)} atoms, expected {self.primitive_atoms}."
            )
        return structure


@lru_cache(maxsize=256)
def _from_spacegroup(
    number: int, lattice: tuple[float, ...], sites: tuple[tuple[str, tuple[float, ...]], ...]
) -> Structure:
    """Return the primitive cell; kept, for pymatgen takes up to a second to set up a space group."""
    from pymatgen.core import Lattice, Structure

    species, coords = zip(*sites, strict=True)
    return Structure.from_spacegroup(
        number, Lattice.from_parameters(*lattice), species, coords
    ).get_primitive_structure(tolerance=_PRIMITIVE_TOLERANCE)


@cache
def _table(name: str) -> dict[str, Any]:
    text = (resources.files("hemiec.thermo.references") / f"{name}.yaml").read_text(encoding="utf-8")
    # The C loader is ten times as fast, where PyYAML was built with it.
    table: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table


@lru_cache(maxsize=1)
def reference_phases() -> tuple[tuple[ReferencePhase, ...], tuple[ReferencePhase, ...]]:
    """Return the tabulated (metals and oxygen, binary oxides) that formation energies refer to."""
    table = _table("reference_phases")
    elements, oxides = (
        tuple(ReferencePhase.model_validate(entry) for entry in table[kind]) for kind in ("elements", "oxides")
    )
    return elements, oxides


@lru_cache(maxsize=1)
def all_phases() -> tuple[ReferencePhase, ...]:
    """Return every tabulated phase: elements, binary oxides, competing phases, and those that interfaces need.

    Raises
    ------
    ThermoError
        If two of them have the same id.
    """
    elements, oxides = reference_phases()
    competing, electrolytes = _table("competing_phases"), _table("electrolyte_phases")
    entries = [
        *(entry for table in (competing, electrolytes) for entry in (*table["elements"], *table["phases"])),
        *expand(competing),
    ]
    phases = (*elements, *oxides, *(ReferencePhase.model_validate(entry) for entry in entries))
    found: set[str] = set()
    for phase in phases:
        if phase.phase_id in found:
            raise ThermoError(f"the tables of reference phases hold {phase.phase_id} twice.")
        found.add(phase.phase_id)
    return phases


def phases_within(elements: Collection[str]) -> list[ReferencePhase]:
    """Return the tabulated phases made of some elements only: what a hull of these elements needs.

    Parameters
    ----------
    elements
        Symbols.
    """
    wanted = frozenset(elements)
    return [phase for phase in all_phases() if phase.elements <= wanted]


@cache
def element_phase(symbol: str) -> ReferencePhase:
    """Return the standard state of an element.

    Raises
    ------
    ThermoError
        If it is not in the tables.
    """
    elements = [phase for phase in all_phases() if len(phase.elements) == 1 and phase.standard_state]
    for phase in elements:
        if phase.cation == symbol:
            return phase
    known = sorted(phase.cation for phase in elements)
    raise ThermoError(f"no reference phase for element {symbol}.", mend=f"elements with one: {', '.join(known)}")


@cache
def oxide_phase(symbol: str, oxidation_state: float) -> ReferencePhase:
    """Return the tabulated oxide of a cation whose oxidation state is nearest to the one given.

    Raises
    ------
    ThermoError
        If no oxide of the cation is in the table.
    """
    candidates = [p for p in reference_phases()[1] if p.standard_state and p.cation == symbol]
    if not candidates:
        raise ThermoError(f"no reference oxide for {symbol}.")
    return min(candidates, key=lambda p: (abs(p.oxidation_state - oxidation_state), p.oxidation_state))


def cations(candidate: CandidateSpec) -> list[str]:
    """Return the species on A and B, each once, in the order of the formula."""
    return list(dict.fromkeys(s for site in ("A", "B") for s in candidate.sites[site] if s != VACANCY))


def is_oxide(candidate: CandidateSpec) -> bool:
    """Return whether oxygen is the only anion; some of it may be missing."""
    return set(candidate.sites["X"]) - {VACANCY} == {"O"}


def required_phases(candidate: CandidateSpec) -> list[ReferencePhase]:
    """Return the reference phases of a candidate: its elements and, for oxides, one oxide per cation.

    A vacancy has none. Phases missing from the table are left out; the energies that need them then say so.
    """
    wanted: dict[str, ReferencePhase] = {}
    for symbol in dict.fromkeys(s for species in candidate.sites.values() for s in species if s != VACANCY):
        with suppress(ThermoError):
            phase = element_phase(symbol)
            wanted[phase.phase_id] = phase
    for symbol in cations(candidate) if is_oxide(candidate) else ():
        with suppress(ThermoError):
            phase = oxide_phase(symbol, candidate.oxidation_states[symbol])
            wanted[phase.phase_id] = phase
    return list(wanted.values())
