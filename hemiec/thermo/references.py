"""Reference phases: which a candidate needs, and the structures they start from."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import yaml
from pydantic import Field

from hemiec.composition.fractions import VACANCY
from hemiec.errors import ThermoError
from hemiec.schemas.documents import CandidateSpec
from hemiec.schemas.quantity import Document

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: pymatgen's default of 0.25 angstrom averages real distortions away (the Mo pairs of MoO2).
_PRIMITIVE_TOLERANCE = 0.01


class ReferencePhase(Document):
    """Starting structure of an element or a binary oxide."""

    formula: str = Field(description="Reduced formula; O2 for the molecule.")
    phase: str = Field(description="Common name of the phase.")
    prototype: str = Field(description="Structure type.")
    space_group: int = Field(ge=1, le=230, description="International Tables number.")
    lattice: list[float] = Field(min_length=6, max_length=6, description="a, b, c in angstrom, angles in degrees.")
    sites: list[tuple[str, list[float]]] = Field(description="Species and fractional coordinates, one per orbit.")
    primitive_atoms: int = Field(description="Atoms in the primitive cell; unit 1.")
    oxidation_state: float = Field(description="Mean formal oxidation state of the cation, in e; 0 in elements.")
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
        return self.formula == "O2"

    @property
    def cation(self) -> str:
        """The element that is not oxygen (oxygen itself for O2)."""
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


@lru_cache(maxsize=1)
def reference_phases() -> tuple[tuple[ReferencePhase, ...], tuple[ReferencePhase, ...]]:
    """Return all tabulated (elements, oxides)."""
    table = yaml.safe_load((resources.files("hemiec.thermo") / "reference_phases.yaml").read_text())
    elements, oxides = (
        tuple(ReferencePhase.model_validate(entry) for entry in table[kind]) for kind in ("elements", "oxides")
    )
    return elements, oxides


@cache
def element_phase(symbol: str) -> ReferencePhase:
    """Return the standard state of an element.

    Raises
    ------
    ThermoError
        If it is not in the table.
    """
    for phase in reference_phases()[0]:
        if phase.standard_state and phase.cation == symbol:
            return phase
    known = sorted({p.cation for p in reference_phases()[0]})
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
