"""Special quasirandom structures of perovskite candidates: searched, dealt, and scored by icet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice

from hemiec import __version__
from hemiec.composition.candidate import exact_sites
from hemiec.composition.fractions import VACANCY
from hemiec.errors import StructureError
from hemiec.schemas.campaign import SqsSettings
from hemiec.schemas.documents import CandidateSpec, ShellParameter, SqsDoc, SqsEnsemble, SublatticeOrder
from hemiec.structures.cells import Rows, Shape, most_compact, shortest_image_distance
from hemiec.structures.ensemble import Member, choose_members, mean_error
from hemiec.structures.parent import FloatArray, IntArray, Supercell, cubic_perovskite
from hemiec.structures.plain import as_dict
from hemiec.structures.plan import CellPlan, lattice_parameter, net_charge, plan_cell
from hemiec.structures.problem import Problem, root_mean_square
from hemiec.structures.templates import (
    CUTOFFS,
    ENGINE_VERSION,
    UNIT,
    TemplateKey,
    Templates,
    allowed_shapes,
    problem,
    scorer,
    scoring_parent,
    templates,
)
from hemiec.structures.tilts import TILTS, fitting_tilts, tilted_positions

#: Random displacements that let octahedra tilt and Jahn-Teller modes start, in angstrom.
DISPLACEMENT = 0.03
#: Fractional coordinates closer than this are the same site of an ideal cell.
_SAME_SITE = 1e-4


def make_sqs(
    candidate: CandidateSpec,
    settings: SqsSettings | None = None,
    *,
    n: int = 1,
    seed: int = 0,
    budget_s: float | None = None,
    n_cores: int = 1,
    cache: Path | None = None,
) -> SqsEnsemble:
    """Return an ensemble of distinct special quasirandom structures of a candidate (doi:10.1103/PhysRevLett.65.353).

    The cell is the largest within ``settings.max_atoms`` that holds the fractions exactly. Patterns of abstract
    species come from the package, the cache or a search; species are dealt onto them; icet
    (doi:10.1002/adts.201900015) counts and scores every member. Without a budget the same arguments give the
    same structures on every machine.

    Parameters
    ----------
    candidate
        Composition; any mixture on A, B and X, vacancies and a species on two sublattices included.
    settings
        Cell and effort; default 50 atoms, standard quality.
    n
        Members. Fewer come back, with a note, if there are not as many distinct ones.
    seed
        Of the choice of members and of the displacements.
    budget_s
        Wall time of the search in s, after which the best so far is used.
    n_cores
        Cores of the search.
    cache
        Folder of cached patterns; None for no cache.

    Raises
    ------
    CompositionError
        If no cell within ``settings.max_atoms`` holds the composition.
    StructureError
        If icet's count of a structure disagrees with ours.
    """
    settings = settings or SqsSettings()
    plan = plan_cell(candidate, settings)
    key = template_key(candidate, plan, settings)
    if not plan.mixed:
        rows = most_compact(_allowed(candidate, plan.n_units, settings)).rows
        doc = _document(candidate, settings, plan, _Decorated(rows), None, seed=seed, member=0)
        return SqsEnsemble(members=[doc], warren_cowley_rms=0.0, notes=_too_few(1, n))
    found = templates(key, cache=cache, budget_s=budget_s, n_cores=n_cores)
    real = tuple((site, tuple(species.values())) for site, species in plan.mixed.items())
    # A single member is the best pattern: the others need not be looked at.
    patterns = found.patterns[:1] if n == 1 else found.patterns
    problems = [problem(pattern.rows, real) for pattern in patterns]
    renaming = _abstract_to_real(plan, key)
    occupations = [renaming[pattern.occupation] for pattern in patterns]
    # icet's L1 depends on which species is which: its patterns are used as they were found, in that order.
    by_order = settings.objective == "warren-cowley"
    members = choose_members(problems, occupations, n, seed=seed, dealt=by_order)
    members.sort(key=lambda m: round(problems[m.pattern].error(m.occupation), 9) if by_order else m.pattern)
    documents = [
        _document(
            candidate,
            settings,
            plan,
            _Decorated(patterns[member.pattern].rows, problems[member.pattern], member),
            found,
            seed=seed,
            member=number,
        )
        for number, member in enumerate(members)
    ]
    return SqsEnsemble(
        members=documents,
        warren_cowley_rms=mean_error(dict(enumerate(problems)), members),
        notes=_too_few(len(members), n),
    )


def template_key(candidate: CandidateSpec, plan: CellPlan, settings: SqsSettings) -> TemplateKey:
    """Return which patterns serve a candidate: only amounts, cell and effort count, not the elements."""
    shapes = _allowed(candidate, plan.n_units, settings)
    by_order = settings.objective == "warren-cowley"
    # Alone, A and B are the same simple cubic sublattice.
    name = {"B": "A"} if list(plan.mixed) == ["B"] else {}
    return TemplateKey(
        amounts=tuple(
            (
                name.get(site, site),
                tuple(sorted(species.values(), reverse=True) if by_order else species.values()),
            )
            for site, species in plan.mixed.items()
        ),
        n_units=plan.n_units,
        shape=settings.shape,
        # Of all limits that allow the same shapes, one.
        min_image_squared=min(round(shape.shortest**2) for shape in shapes),
        quality=settings.quality,
        tilt=settings.tilt,
        objective=settings.objective,
    )


def displacements(n_atoms: int, seed: int, amplitude: float = DISPLACEMENT) -> FloatArray:
    """Return seeded Gaussian displacements of standard deviation ``amplitude``, in angstrom, shape=(n_atoms, 3)."""
    return np.random.default_rng(seed).normal(scale=amplitude, size=(n_atoms, 3))


@dataclass(frozen=True)
class _Decorated:
    """A cell with its mixed sites decided; without a problem nothing is mixed."""

    rows: Rows
    problem: Problem | None = None
    member: Member | None = None

    def species(self, cell: Supercell, plan: CellPlan) -> list[str]:
        """Return the species of every site of the cell, vacancies included."""
        names = np.array([next(iter(plan.amounts[site])) for site in cell.sublattices], dtype=object)
        if self.problem is not None and self.member is not None:
            symbols = np.array([s for species in plan.mixed.values() for s in species], dtype=object)
            names[self.problem.sites] = symbols[self.member.occupation]
        return [str(name) for name in names]


def _document(
    candidate: CandidateSpec,
    settings: SqsSettings,
    plan: CellPlan,
    decorated: _Decorated,
    found: Templates | None,
    *,
    seed: int,
    member: int,
) -> SqsDoc:
    a = lattice_parameter(candidate)
    # Fractional coordinates do not depend on a: the cell of the search serves.
    cell = decorated.problem.supercell if decorated.problem else Supercell(scoring_parent(), decorated.rows)
    species = decorated.species(cell, plan)
    _check_amounts(candidate, plan, cell, species)
    lattice = Lattice(cell.rows * a)
    filled = [n for n, symbol in enumerate(species) if symbol != VACANCY]
    symbols = [species[n] for n in filled]
    ideal = cell.positions[filled]
    start = ideal if settings.tilt == "none" else tilted_positions(cell, TILTS[settings.tilt])[filled]
    moved = lattice.get_cartesian_coords(start) + displacements(len(filled), seed)
    nearest = shortest_image_distance(lattice.matrix)
    parameters, l1, objective = _judge(decorated, a, plan)
    return SqsDoc(
        candidate=candidate,
        member=member,
        structure=as_dict(lattice, symbols, lattice.get_fractional_coords(moved), moved),
        ideal_structure=as_dict(
            lattice,
            symbols,
            ideal,
            lattice.get_cartesian_coords(ideal),
            sites=[cell.sublattices[n] for n in filled],
        ),
        n_atoms=len(filled),
        n_formula_units=plan.n_units,
        supercell=[list(row) for row in decorated.rows],
        shortest_image_distance=nearest,
        tilt=None if settings.tilt == "none" else settings.tilt,
        sublattices=_sublattices(candidate, plan, parameters),
        rounding=plan.rounding,
        net_charge=round(net_charge(candidate, plan), 9) + 0.0,  # no -0
        warren_cowley_rms=_rms(parameters),
        icet_l1=l1,
        icet_objective=objective,
        warren_cowley=parameters,
        seed=seed,
        origin=found.origin if found else "search",
        n_runs=found.n_runs if found else 0,
        truncated=bool(found and found.truncated),
        cutoffs=list(CUTOFFS),
        notes=_notes(settings, plan, nearest, decorated.rows),
        versions={"hemiec": __version__, "sqs_engine": str(ENGINE_VERSION), **icet_version()},
    )


def vacant_sites(doc: SqsDoc) -> dict[str, FloatArray]:
    """Return the sites that a special quasirandom structure leaves vacant, in its ideal cell.

    Returns
    -------
    Sublattice to fractional coordinates, shape=(n_vacant, 3); sublattices without vacancies are left out.
    """
    cell = Supercell(cubic_perovskite(), doc.supercell)
    filled = np.array([site["abc"] for site in doc.ideal_structure["sites"]])
    apart = cell.positions[:, None, :] - filled[None, :, :]
    distance = np.abs(apart - np.round(apart)).max(axis=2).min(axis=1)
    vacant = distance > _SAME_SITE
    if vacant.sum() != len(cell) - len(filled):
        raise StructureError(f"{doc.candidate.label}: the ideal cell and its supercell vectors do not belong together.")
    names = np.array(cell.sublattices)
    return {site: cell.positions[vacant & (names == site)] for site in "ABX" if np.any(vacant & (names == site))}


def _judge(decorated: _Decorated, a: float, plan: CellPlan) -> tuple[list[ShellParameter], float, float]:
    """Return Warren-Cowley parameters, icet's L1 and Q, after icet has confirmed the parameters."""
    if decorated.problem is None or decorated.member is None:
        return [], 0.0, 0.0
    solved, occupation = decorated.problem, decorated.member.occupation
    alphas = solved.warren_cowley(occupation)
    score = scorer(tuple((site, len(amounts)) for site, amounts in solved.amounts.items())).score(solved, occupation)
    parameters = []
    for (pair, *_), alpha in zip(solved.shells, alphas, strict=True):
        between = pair.first, pair.second
        for i, first in enumerate(plan.mixed[pair.first]):
            for j, second in enumerate(plan.mixed[pair.second]):
                parameters.append(
                    ShellParameter(
                        sublattices=list(between),
                        shell=pair.shell,
                        distance=pair.distance * a / UNIT,
                        pair=[first, second],
                        alpha=float(alpha[i, j]),
                    )
                )
    # Q subtracts a radius, which scales with the cell: L = L1 - Q in the cell of UNIT.
    return parameters, score.l1, score.l1 - (score.l1 - score.objective) * a / UNIT


def _sublattices(
    candidate: CandidateSpec, plan: CellPlan, parameters: list[ShellParameter]
) -> dict[str, SublatticeOrder]:
    result = {}
    for site, species in exact_sites(candidate).items():
        total = sum(plan.amounts[site].values())
        within = [p for p in parameters if p.sublattices == [site, site]]
        result[site] = SublatticeOrder(
            requested={s: float(x) for s, x in species.items()},
            realised={s: n / total for s, n in plan.amounts[site].items()},
            amounts=plan.amounts[site],
            wc4=_rms(within) if within else None,
        )
    return result


def _rms(parameters: list[ShellParameter]) -> float:
    return root_mean_square([np.array([p.alpha for p in parameters])]) if parameters else 0.0


def _check_amounts(candidate: CandidateSpec, plan: CellPlan, cell: Supercell, species: list[str]) -> None:
    for site, expected in plan.amounts.items():
        on_site = [s for s, name in zip(species, cell.sublattices, strict=True) if name == site]
        found = {s: on_site.count(s) for s in expected}
        if found != expected or len(on_site) != sum(expected.values()):
            raise StructureError(f"{candidate.formula}: site {site} holds {found}, expected {expected}.")


def _abstract_to_real(plan: CellPlan, key: TemplateKey) -> IntArray:
    """Return the species number, by atomic number, of each abstract species of a key."""
    renaming: list[int] = []
    for species, (_, abstract) in zip(plan.mixed.values(), key.amounts, strict=True):
        amounts = np.array(list(species.values()))
        same_order = abstract == tuple(amounts)
        order = np.arange(len(amounts)) if same_order else np.argsort(-amounts, kind="stable")
        renaming += (len(renaming) + order).tolist()
    return np.array(renaming)


def _allowed(candidate: CandidateSpec, n_units: int, settings: SqsSettings) -> tuple[Shape, ...]:
    return allowed_shapes(
        n_units,
        shape=settings.shape,
        # Squared lengths are whole numbers: the limit may be rounded up.
        min_image_squared=math.ceil((settings.min_image_distance / lattice_parameter(candidate)) ** 2 - 1e-9),
        tilt=settings.tilt,
    )


def _notes(settings: SqsSettings, plan: CellPlan, nearest: float, rows: Rows) -> list[str]:
    notes = []
    if nearest < settings.min_image_distance:
        notes.append(
            f"no cell of {plan.n_units} formula units keeps periodic images {settings.min_image_distance:g} angstrom "
            f"apart; here they are {nearest:.2f} angstrom apart"
        )
    if plan.rounding > 0:
        notes.append(f"site fractions are rounded by up to {plan.rounding:.4f}")
    if not fitting_tilts(np.array(rows)):
        notes.append(
            "this cell cuts the periods of all octahedral tilts: a tilted material ends higher in it than in others"
        )
    return notes


def _too_few(found: int, asked: int) -> list[str]:
    if found >= asked:
        return []
    return [f"{asked} members were asked for; only {found} distinct ones exist or were found with this effort"]


def icet_version() -> dict[str, str]:
    """Return the version of icet."""
    import icet

    return {"icet": str(icet.__version__)}
