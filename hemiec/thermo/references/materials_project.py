"""Competing phases that the Materials Project knows, as starting structures of our own relaxations.

Only structures are taken. Their energies are of another scale and never meet ours: a phase from there is relaxed by the
protocol like any other (doi:10.1063/1.4812323).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from hemiec.errors import HemiecError, InputError, ThermoError
from hemiec.thermo.references.table import MOLECULES, ReferencePhase, phases_within

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Environment variables that hold a key, as the Materials Project's own clients name them.
_KEY_VARIABLES = ("MP_API_KEY", "PMG_MAPI_KEY")
#: More elements have more than a thousand subsystems.
_MAX_ELEMENTS = 10
#: Subsystems of one request: the address of a longer one is refused.
_SYSTEMS_PER_REQUEST = 60
_FIELDS = ["material_id", "structure", "energy_above_hull"]
#: Tolerance of symmetry and of primitive cells, in angstrom.
_SYMPREC = 0.01


class Client(Protocol):
    """What is used of ``mp_api.client.MPRester``."""

    @property
    def materials(self) -> Any:
        """Its routes; ``materials.summary.search`` is called."""


@dataclass(frozen=True)
class Found:
    """What the Materials Project has of some elements.

    ``phases`` are new, ``tabulated`` maps material ids to the phase of our tables that has the same structure,
    ``left_out`` others to why.
    """

    phases: Sequence[ReferencePhase]
    tabulated: dict[str, str]
    left_out: dict[str, str]


def materials_project_phases(
    elements: Collection[str],
    *,
    api_key: str | None = None,
    max_energy_above_hull: float = 0.02,
    max_atoms: int = 80,
    client: Client | None = None,
) -> Found:
    """Return the phases within some elements that lie near the hull of the Materials Project.

    Parameters
    ----------
    elements
        Symbols.
    api_key
        The user's key; None takes it from the environment (MP_API_KEY).
    max_energy_above_hull
        Of that database, in eV/atom: what is a little above its hull may be on ours.
    max_atoms
        Larger primitive cells are left out.
    client
        An open client, in place of the one that mp-api makes with the key.

    Raises
    ------
    InputError
        If an element is none, or there are too many of them.
    HemiecError
        If mp-api is not installed, there is no key, or the service does not answer.
    """
    symbols = _checked(elements)
    entries = _fetch(client or _open(api_key), symbols, max_energy_above_hull)
    phases, tabulated, left_out = [], {}, {}
    for material_id, structure in entries:
        primitive = structure.get_primitive_structure(tolerance=_SYMPREC)
        formula = _formula(primitive)
        if len(primitive) > max_atoms:
            left_out[material_id] = f"{formula}: {len(primitive)} atoms, more than {max_atoms}"
        elif len(primitive.elements) == 1 and any(primitive.elements[0].symbol == name[:-1] for name in MOLECULES):
            left_out[material_id] = f"solid {formula}: the molecule is the reference"
        elif same := _tabulated(primitive):
            tabulated[material_id] = same
        else:
            phases.append(as_phase(primitive, material_id, f"Materials Project {material_id}"))
    return Found(phases, tabulated, left_out)


def as_phase(structure: Structure, name: str, source: str) -> ReferencePhase:
    """Return a structure as a reference phase: its orbits if its symmetry is found, else all its atoms.

    Parameters
    ----------
    structure
        Any cell, ordered.
    name
        Name of the phase.
    source
        Where it is from.

    Raises
    ------
    ThermoError
        If sites are partly occupied.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    if not structure.is_ordered:
        raise ThermoError(f"{name}: sites are partly occupied; expected an ordered structure.")
    primitive = structure.get_primitive_structure(tolerance=_SYMPREC)
    number, cell, sites = _orbits(primitive)
    fields = {
        "formula": _formula(primitive),
        "phase": name,
        "prototype": "as in the source",
        "primitive_atoms": len(primitive),
        # Of a compound with several anions it is not defined; only DFT confirmation asks whether it is 0.
        "oxidation_state": _oxidation_state(primitive),
        "standard_state": False,
        "source": source,
    }
    phase = ReferencePhase.model_validate(fields | {"space_group": number, "lattice": cell, "sites": sites})
    try:
        if StructureMatcher(primitive_cell=False, scale=False).fit(phase.structure(), primitive):
            return phase
    except ThermoError:
        pass  # the orbits give another number of atoms: a setting that pymatgen writes differently
    every = [(site.specie.symbol, _listed(site.frac_coords)) for site in primitive]
    lattice = [round(x, 6) for x in primitive.lattice.parameters]
    return ReferencePhase.model_validate(fields | {"space_group": 1, "lattice": lattice, "sites": every})


def _checked(elements: Collection[str]) -> list[str]:
    from pymatgen.core import Element

    symbols = sorted(set(elements))
    wrong = [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]
    if wrong or not symbols:
        raise InputError(f"expected symbols of elements, got {', '.join(wrong) or 'none'}.")
    if len(symbols) > _MAX_ELEMENTS:
        raise InputError(
            f"{len(symbols)} elements at once; expected at most {_MAX_ELEMENTS}.",
            mend="ask for a part of them at a time",
        )
    return symbols


def _open(api_key: str | None) -> Client:
    key = api_key or next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), None)
    if not key:
        raise HemiecError(
            "no key for the Materials Project.",
            mend="get one at https://materialsproject.org/api and set MP_API_KEY to it",
        )
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise HemiecError("mp-api is not installed.", mend="pip install 'hemiec[mp]'") from error
    try:
        client: Client = MPRester(key)
    except Exception as error:  # of requests, of mp-api, or a ValueError for a key of the wrong length
        raise _unreachable(error) from error
    return client


def _fetch(client: Client, symbols: Sequence[str], max_energy_above_hull: float) -> list[tuple[str, Structure]]:
    systems = ["-".join(part) for n in range(1, len(symbols) + 1) for part in combinations(symbols, n)]
    found: dict[str, Structure] = {}
    for start in range(0, len(systems), _SYSTEMS_PER_REQUEST):
        try:
            answer = client.materials.summary.search(
                chemsys=systems[start : start + _SYSTEMS_PER_REQUEST],
                energy_above_hull=(0, max_energy_above_hull),
                deprecated=False,
                fields=_FIELDS,
            )
        except Exception as error:  # whatever the client's transport raises
            raise _unreachable(error) from error
        found.update((str(entry.material_id), entry.structure) for entry in answer)
    return sorted(found.items())


def _unreachable(error: Exception) -> HemiecError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return HemiecError(
        f"the Materials Project did not answer: {text[:200]}",
        mend="check the key and that this machine reaches https://api.materialsproject.org",
    )


def _tabulated(structure: Structure) -> str | None:
    """Return the id of the tabulated phase that the structure is, if it is one."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher()
    composition = structure.composition.reduced_composition
    for phase in phases_within({element.symbol for element in structure.elements}):
        cell = phase.structure() if phase.primitive_atoms == len(structure) else None
        if cell is not None and cell.composition.reduced_composition == composition and matcher.fit(cell, structure):
            return phase.phase_id
    return None


def _orbits(structure: Structure) -> tuple[int, list[float], list[tuple[str, list[float]]]]:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    refined = SpacegroupAnalyzer(structure, symprec=_SYMPREC).get_refined_structure()
    analyzer = SpacegroupAnalyzer(refined, symprec=_SYMPREC)
    orbits = analyzer.get_symmetrized_structure().equivalent_sites
    sites = [(orbit[0].specie.symbol, _listed(orbit[0].frac_coords)) for orbit in orbits]
    return analyzer.get_space_group_number(), [round(x, 6) for x in refined.lattice.parameters], sites


def _listed(coordinates: Any) -> list[float]:
    return [round(float(x) % 1, 8) % 1 for x in coordinates]


def _formula(structure: Structure) -> str:
    composition = structure.composition.reduced_composition
    return "".join(f"{e.symbol}{int(n) if n > 1 else ''}" for e, n in sorted(composition.items()))


def _oxidation_state(structure: Structure) -> float:
    amounts = {element.symbol: n for element, n in structure.composition.items()}
    cations = sum(n for symbol, n in amounts.items() if symbol != "O")
    return round(2 * amounts.get("O", 0.0) / cations, 4) if cations else 0.0
