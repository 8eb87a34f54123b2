"""What a reader should know of a candidate's numbers before trusting its rank, told from the documents' own facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from hemiec.ranking.columns import BY_PROPERTY, COLUMNS
from hemiec.ranking.entries import gap_starts, shown_result
from hemiec.schemas.calculations import GapStart
from hemiec.schemas.definition import Criterion
from hemiec.schemas.documents import CandidateDoc, CandidateResult
from hemiec.schemas.leaderboard import Doubt, LeaderboardEntry
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import StructureDoc
from hemiec.schemas.thermo import Thermodynamics
from hemiec.schemas.transport import TransportSummary

#: Every code, in the order in which doubts of one property are told, with what it stands for.
CODES = {
    "metal-or-unresolved": "a gap of 0, which mesh and smearing may hide",
    "one-magnetic-start": "no search of the magnetic ground state",
    "failed-magnetic-starts": "magnetic starts without a solution",
    "magnetic-states-differ": "gaps of the magnetic solutions that lie far apart",
    "no-correction": "a value that no calibration fits",
    "extrapolated-correction": "a correction beyond the points of its calibration",
    "no-interval": "no known interval, so draws take the value as exact",
    "assumed-interval": "an interval that the definition assumes",
    "wide-interval": "an interval wider than the scale of the ranking",
    "one-structure": "one special quasirandom structure, so no scatter between structures",
    "few-hops": "most hops predicted, not computed",
    "failed-hops": "hops that were tried without finding a saddle",
    "failed-sites": "sites that do not hold a vacancy",
    "transport-note": "what the network's own notes say",
    "poor-hop-model": "predicted saddles with an error like the barrier itself",
    "no-percolation": "a direction that no hops lead along",
    "dynamics-disagree": "molecular dynamics outside the interval of the network's barrier",
    "hull-by-potential": "energies of competing phases by a machine-learned potential",
    "below-hull": "a candidate below all reference phases, so some may be missing",
    "stability-undecided": "an interval that allows stable and unstable",
    "other-oxygen-content": "an oxygen content in air unlike the computed one",
    "thermodynamics-incomplete": "a part of the thermodynamics that is missing",
    "open-4f-shell": "elements with an open 4f shell",
    "not-a-perovskite": "a tolerance factor for which no perovskite is expected",
    "small-cell": "periodic images of a vacancy close to each other",
    "poor-randomness": "a cell too small to be random",
    "tilts-cut": "a cell that octahedral tilts do not fit into",
    "rounded-fractions": "site fractions that the cell cannot hold exactly",
    "charged-cell": "a cell whose formal charges do not cancel",
    "not-relaxed": "a structure that is not relaxed",
    "structure-note": "what the structure's own notes say",
}
#: Trivalent lanthanides with an open 4f shell; of La it is empty, of Lu full.
OPEN_4F = frozenset(("Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"))
#: Above it no perovskite is expected (doi:10.1126/sciadv.aav0693, eq. 1).
BARTEL_LIMIT = 4.18
#: How far apart images are in a campaign that does not say otherwise (`sqs.min_image_distance`), in angstrom.
NEAR_IMAGES = 8.5
#: Root mean square Warren-Cowley parameter above which a cell is called poorly random; unit 1. A parameter of 0.1 is a
#: pair that is a tenth rarer or more frequent than at random.
POOR_ORDER = 0.1
#: Fraction of hops computed below which most of the network is a prediction; unit 1.
FEW_HOPS = 0.5
#: Gaps of magnetic solutions that differ by more than this matter on every scale that is shipped, in eV.
GAP_SPREAD = 0.3
#: Oxygen contents that differ by more change the valence on B by twice as much: 0.1 e; unit 1.
OXYGEN_DIFFERENCE = 0.05
#: Predicted saddles are poor where their error is more than this part of the barrier; unit 1.
POOR_SADDLES = 0.5
#: Charges and site fractions nearer to zero than this are rounding.
_NOTHING = 1e-6
#: Properties whose ``n`` counts special quasirandom structures.
_BY_STRUCTURE = (
    "formation_energy_per_atom", "formation_enthalpy_from_oxides_per_atom", "energy_above_hull",
    "interface_reaction_energy",
)  # fmt: skip
_EXTRAPOLATED = re.compile(r"extrapolated beyond its points \(([^()]*)\)")
_NOT_CORRECTED = re.compile(r"not corrected: ([^;]*)$")
_POTENTIAL = "mlip-"
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_TOLD_OTHERWISE = ("no saddle was found", "did not hold a vacancy")


class Rules(Protocol):
    """A definition or a leaderboard: what has criteria."""

    @property
    def criteria(self) -> Sequence[Criterion]:
        """What the rank is made of."""


def doubts(of: LeaderboardEntry | CandidateDoc, definition: Rules) -> list[Doubt]:
    """Return what is doubtful of a candidate's numbers: those that count first, in the order of the criteria.

    Only what the document holds is judged: of an entry without its transport nothing is said of hops. A value that is
    missing is no doubt; it has a reason of its own.

    Parameters
    ----------
    of
        An entry of a leaderboard, or a candidate, whose shown result and own gap then count.
    definition
        What counts, with which scale.
    """
    criteria = {criterion.property: criterion for criterion in definition.criteria}
    result: LeaderboardEntry | CandidateResult | None
    if isinstance(of, CandidateDoc):
        result, starts = shown_result(of), gap_starts(of)
        formula, tau, valences = of.candidate.formula, of.candidate.bartel_tau, of.candidate.oxidation_states
    else:
        result, starts, formula, tau, valences = of, of.gap_starts, of.formula, of.bartel_tau, {}
    found = [*_of_numbers(of, criteria), *_of_composition(formula, tau, valences), *_of_gap(of.band_gap, starts)]
    if result is not None:
        found += _of_transport(of.migration_barrier, result)
        found += _of_thermodynamics(result.thermodynamics)
        found += _of_cell(result)
    return in_order(found, list(criteria))


def structure_doubts(structure: StructureDoc) -> list[Doubt]:
    """Return what is doubtful of the special quasirandom structure behind a candidate's numbers."""
    found = []
    if structure.structure is None:
        found.append(_doubt("not-relaxed", None, "The structure is the ideal one; it has not been relaxed."))
    if structure.rounding > _NOTHING:
        found.append(
            _doubt(
                "rounded-fractions", None,
                f"The cell of {structure.nsites} atoms cannot hold the site fractions exactly: they are off by up to "
                f"{structure.rounding:.3f}.",
            )
        )  # fmt: skip
    if abs(structure.net_charge) > _NOTHING:
        text = f"The formal charges of the cell do not cancel: {structure.net_charge:+.3f} e per formula unit are left."
        found.append(_doubt("charged-cell", None, text))
    for note in structure.notes:
        told = note.startswith("site fractions are rounded") or (
            "periodic images" in note and structure.shortest_image_distance < NEAR_IMAGES
        )
        if told:
            continue
        code = "tilts-cut" if "tilts" in note else "structure-note"
        found.append(_doubt(code, None, _sentence(note)))
    return found


def in_order(found: Sequence[Doubt], counting: Sequence[str]) -> list[Doubt]:
    """Return doubts without repeats: of what counts first, then of other properties, then of all of them.

    Parameters
    ----------
    found
        In any order; of two with the same code and property the first is kept.
    counting
        Properties that count, in their order.
    """
    known = list(CODES)
    places = [*counting, *(column.property for column in COLUMNS if column.property not in counting)]

    def place(doubt: Doubt) -> tuple[int, int]:
        by_property = places.index(doubt.property) if doubt.property in places else len(places)
        return by_property, known.index(doubt.code) if doubt.code in known else len(known)

    once: dict[tuple[str, str | None, str], Doubt] = {}
    for doubt in found:
        several = doubt.code in ("transport-note", "structure-note", "thermodynamics-incomplete")
        once.setdefault((doubt.code, doubt.property, doubt.text if several else ""), doubt)
    return sorted(once.values(), key=place)


def _of_numbers(of: LeaderboardEntry | CandidateDoc, criteria: dict[str, Criterion]) -> Iterator[Doubt]:
    known = [(column.property, getattr(of, column.property)) for column in COLUMNS]
    known = [(name, found) for name, found in known if found.value is not None]
    for name, found in known:
        yield from _of_correction(name, found)
        if name == "energy_above_hull":
            yield from _of_hull(found)
        if name in criteria:
            yield from _of_interval(name, found, criteria[name])
    single = [name for name, found in known if found.n == 1 and name in _BY_STRUCTURE]
    if single:
        which = _listed([BY_PROPERTY[name].phrase for name in single])
        text = f"One special quasirandom structure is behind the {which}: how much others differ is not known."
        yield _doubt("one-structure", None, text)


def _of_correction(name: str, found: Quantity) -> Iterator[Doubt]:
    phrase = BY_PROPERTY[name].phrase
    if beyond := _EXTRAPOLATED.search(found.method):
        text = f"The {phrase} is corrected by a calibration that it lies outside of (its points: {beyond[1]})."
        yield _doubt("extrapolated-correction", name, text)
    if reason := _NOT_CORRECTED.search(found.method):
        yield _doubt("no-correction", name, f"The {phrase} is not corrected towards DFT: {reason[1]}.")


def _of_interval(name: str, found: Quantity, criterion: Criterion) -> Iterator[Doubt]:
    column = BY_PROPERTY[name]
    if found.interval is None:
        if criterion.standard_uncertainty is None:
            text = f"No interval of the {column.phrase} is known: draws take it as exact."
            yield _doubt("no-interval", name, text)
        else:
            text = (
                f"No interval of the {column.phrase} is known: draws assume a standard uncertainty of "
                f"{criterion.standard_uncertainty:g} {found.unit}."
            )
            yield _doubt("assumed-interval", name, text)
        return
    width, scale = found.interval[1] - found.interval[0], _scale(criterion)
    if scale is not None and width > scale:
        text = (
            f"The 90 % interval of the {column.phrase} is {width:.{column.digits}f} {found.unit} wide; the whole scale "
            f"of the ranking is {scale:g} {found.unit}."
        )
        yield _doubt("wide-interval", name, text)


def _scale(criterion: Criterion) -> float | None:
    """Return what lies between the fixed values of a criterion, in the property's unit; None if one side is open."""
    if criterion.best is not None and criterion.worst is not None:
        return abs(criterion.best - criterion.worst)
    ends = criterion.zero_at
    if ends is None or ends[0] is None or ends[1] is None:
        return None
    return ends[1] - ends[0]


def _of_hull(found: Quantity) -> Iterator[Doubt]:
    assert found.value is not None
    if found.protocol is not None and found.protocol.startswith(_POTENTIAL):
        text = f"All phases of the hull are computed with a machine-learned potential ({found.protocol}), not with DFT."
        yield _doubt("hull-by-potential", "energy_above_hull", text)
    if found.value < 0:
        text = "It lies below every mixture of the reference phases: a competing phase may be missing among them."
        yield _doubt("below-hull", "energy_above_hull", text)


def _of_gap(gap: Quantity, starts: Sequence[GapStart]) -> Iterator[Doubt]:
    if gap.value is None:
        return
    if gap.value == 0:
        text = "A gap of 0 means a metal, or a gap that mesh and smearing do not resolve."
        yield _doubt("metal-or-unresolved", "band_gap", text)
    if len(starts) == 1 and starts[0].magnetic_start is not None:
        text = f"The gap is of one magnetic start ({starts[0].magnetic_start}); the ground state was not searched."
        yield _doubt("one-magnetic-start", "band_gap", text)
    failed = [start for start in starts if start.reason is not None]
    if failed:
        text = f"{len(failed)} of {len(starts)} magnetic starts of the gap led to no solution."
        yield _doubt("failed-magnetic-starts", "band_gap", text)
    gaps = [start.band_gap for start in starts if start.band_gap is not None]
    if len(gaps) > 1 and max(gaps) - min(gaps) > GAP_SPREAD:
        text = (
            f"The gaps of the {len(gaps)} magnetic solutions range from {min(gaps):.2f} to {max(gaps):.2f} eV; that of "
            "the lowest energy counts."
        )
        yield _doubt("magnetic-states-differ", "band_gap", text)


def _of_transport(barrier: Quantity, result: LeaderboardEntry | CandidateResult) -> Iterator[Doubt]:
    name, of = "migration_barrier", result.transport
    if of is None or barrier.value is None:
        return
    if of.n_hops and of.n_computed < FEW_HOPS * of.n_hops:
        text = f"{of.n_computed} of {of.n_hops} hops are computed; the others are predicted from their surroundings."
        yield _doubt("few-hops", name, text)
    if of.n_failed:
        tried = of.n_computed + of.n_failed
        yield _doubt("failed-hops", name, f"No saddle was found for {of.n_failed} of {tried} hops that were tried.")
    if of.site_failures:
        text = f"{len(of.site_failures)} of {len(of.site_energies)} sites did not hold a vacancy; they are predicted."
        yield _doubt("failed-sites", name, text)
    for note in of.notes:
        if not any(known in note for known in _TOLD_OTHERWISE):
            yield _doubt("transport-note", name, _sentence(note))
    yield from _of_predictions(of)
    yield from _of_dynamics(of, result)


def _of_predictions(of: TransportSummary) -> Iterator[Doubt]:
    name, own = "migration_barrier", of.effective_barrier.value
    error = of.saddle_model_error if of.n_computed < of.n_hops else None
    if error is not None and own is not None and error > POOR_SADDLES * own:
        text = (
            f"Predicted saddles are off by {error:.2f} eV (cross-validated), beside an effective "
            f"barrier of {own:.2f} eV."
        )
        yield _doubt("poor-hop-model", name, text)
    closed = [axis for axis, leads in zip("abc", of.percolates, strict=False) if not leads]
    if closed:
        text = f"No hops lead through the crystal along {', '.join(closed)}."
        yield _doubt("no-percolation", name, text)


def _of_dynamics(of: TransportSummary, result: LeaderboardEntry | CandidateResult) -> Iterator[Doubt]:
    """Compare the potential's own barrier, which molecular dynamics runs on, with what those runs give."""
    if result.dynamics is None:
        return
    network, runs = of.effective_barrier, result.dynamics.activation_energy
    if network.interval is None or runs.interval is None or runs.value is None or network.value is None:
        return
    if network.interval[1] < runs.interval[0] or runs.interval[1] < network.interval[0]:
        text = (
            f"Molecular dynamics gives an activation energy of {runs.value:.2f} eV and the network {network.value:.2f} "
            "eV, both before any correction; their 90 % intervals do not overlap."
        )
        yield _doubt("dynamics-disagree", "migration_barrier", text)


def _of_thermodynamics(of: Thermodynamics | None) -> Iterator[Doubt]:
    if of is None:
        return
    if of.entropy is not None and of.entropy.decided_by == "undecided":
        text = "Within the interval of its energy it may or may not be stable at the temperatures looked at."
        yield _doubt("stability-undecided", "energy_above_hull", text)
    if of.oxygen is not None:
        assumed, air, within = of.oxygen.delta_assumed, of.oxygen.delta_in_air, of.oxygen.delta_in_air_interval
        outside = within is None or not within[0] <= assumed <= within[1]
        if outside and abs(air - assumed) > OXYGEN_DIFFERENCE:
            text = (
                f"In air at {of.oxygen.air_temperature_K:.0f} K it would hold {air:.2f} oxygen vacancies per formula "
                f"unit; it was computed with {assumed:.2f}."
            )
            yield _doubt("other-oxygen-content", None, text)
    for part, reason in of.reasons.items():
        yield _doubt("thermodynamics-incomplete", None, _sentence(f"{part}: {reason}"))


def _of_cell(result: LeaderboardEntry | CandidateResult) -> Iterator[Doubt]:
    nearest, order = result.shortest_image_distance, result.warren_cowley_rms
    if nearest is not None and nearest < NEAR_IMAGES:
        text = (
            f"Periodic images in the cell of {result.n_atoms} atoms are {nearest:.1f} angstrom apart: a vacancy or a "
            "tilt feels its own image."
        )
        yield _doubt("small-cell", None, text)
    if order is not None and order > POOR_ORDER:
        text = (
            f"The cell of {result.n_atoms} atoms is not random: pairs deviate from chance by {order:.2f} (root mean "
            "square Warren-Cowley parameter)."
        )
        yield _doubt("poor-randomness", None, text)


def _of_composition(formula: str, tau: float | None, valences: Mapping[str, float]) -> Iterator[Doubt]:
    # The 4f shell of Ce(IV) is empty; where its valence is not told, nothing can be said of it.
    open_shell = sorted(
        symbol
        for symbol in set(_SYMBOL.findall(formula)) & OPEN_4F
        if symbol != "Ce" or valences.get(symbol, 4.0) < 4 - _NOTHING
    )
    if open_shell:
        text = (
            f"It holds {', '.join(open_shell)}, whose open 4f shells neither semilocal DFT nor potentials fitted to it "
            "describe well."
        )
        yield _doubt("open-4f-shell", None, text)
    if tau is not None and tau > BARTEL_LIMIT:
        text = f"Its tolerance factor of Bartel et al. is {tau:.2f}; above {BARTEL_LIMIT} no perovskite is expected."
        yield _doubt("not-a-perovskite", None, text)


def _listed(names: Sequence[str]) -> str:
    """Return names as in a sentence: a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _doubt(code: str, name: str | None, text: str) -> Doubt:
    return Doubt(code=code, property=name, text=text)


def _sentence(text: str) -> str:
    """Return words of a document as a sentence."""
    words = text.strip()
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
