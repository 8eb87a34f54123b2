"""A store of synthetic candidates for tests: real compositions and cells, made-up numbers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from thermo_examples import thermodynamics
from transport_examples import summary

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.errors import CompositionError
from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import PROPERTIES, CandidateDoc, CandidateResult, CandidateSpec, JobRecord, ReferenceDoc
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.stored import StructureDoc
from hemiec.schemas.submitted import CampaignDoc
from hemiec.schemas.transport import HopSummary
from hemiec.store.candidates import composition_of, documents_of, formula_composition
from hemiec.store.database import Database
from hemiec.store.leaderboards import save_leaderboard

CAMPAIGN = "synthetic"
#: Every OTHER-th candidate is asked for by this campaign too.
OTHER_CAMPAIGN, OTHER = "synthetic-2", 3
#: Every SKIPPED-th candidate has no number yet.
SKIPPED = 10
NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
_A = ("La", "Pr", "Nd", "Sm", "Gd", "Y", "Sr", "Ba", "Ca")
_B = ("Co", "Fe", "Mn", "Cr", "Ni", "Ti")
_UNITS = dict(zip(PROPERTIES, ("eV", "eV", *["eV/atom"] * 4), strict=True))
#: Five cubic cells, well shaped: 25 atoms.
_CELL = ((1, 1, 0), (1, -1, 1), (1, 0, -2))
_BATCH = 500


def insert_candidates(database: Database, n: int, seed: int = 0, *, structures: bool = True) -> list[str]:
    """Write n different candidates with all that belongs to them; return their ids in the order of making.

    Hops, transport and thermodynamics of the first candidate, a structure each, three references, two campaigns and a
    leaderboard of at most a hundred candidates are written too.

    Parameters
    ----------
    database
        The store.
    n
        How many.
    seed
        Decides compositions and numbers; the first candidates of a larger n are those of a smaller one.
    structures
        Whether structures are written; without them it is twice as fast.
    """
    ids: list[str] = []
    ranked: list[CandidateDoc] = []
    batch: dict[str, list[dict[str, Any]]] = {}
    for order, doc in enumerate(synthetic_candidates(n, seed)):
        ids.append(doc.candidate_id)
        if len(ranked) < 100:
            ranked.append(doc)
        parts = documents_of(doc)
        if structures and doc.results:
            parts["structures"] = [structure_doc(doc, seed=order).to_mongo()]
        for name, documents in parts.items():
            batch.setdefault(name, []).extend(documents)
        if len(batch["candidates"]) == _BATCH:
            _insert(database, batch)
            batch = {}
    _insert(database, batch)
    for name, several in (("references", references()), ("campaigns", campaigns(n))):
        _insert(database, {name: [doc.to_mongo() for doc in several]})
    if ranked:
        save_leaderboard(database, rank(ranked, DEFAULT, created_at=NOW))
    return ids


def synthetic_candidates(n: int, seed: int = 0) -> Iterator[CandidateDoc]:
    """Yield n different candidates, every tenth without numbers."""
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    while len(seen) < n:
        A = rng.choice(_A, size=5, replace=False)
        B = rng.choice(_B, size=2, replace=False)
        share = int(rng.integers(1, 5))
        delta = int(rng.integers(0, 4))
        sites = {
            "A": {str(s): "1/5" for s in A},
            "B": {str(B[0]): f"{share}/5", str(B[1]): f"{5 - share}/5"},
            "X": {"O": f"{60 - delta}/60", "vacancy": f"{delta}/60"} if delta else {"O": 1},
        }
        try:
            spec = make_candidate(sites, DEFAULT_OXIDATION_STATES)
        except CompositionError:
            continue
        if spec.candidate_id in seen:
            continue
        order = len(seen)
        seen.add(spec.candidate_id)
        yield candidate_doc(spec, order, rng)


def candidate_doc(spec: CandidateSpec, order: int, rng: np.random.Generator) -> CandidateDoc:
    """Return a candidate with made-up numbers; the first has transport and thermodynamics too."""
    key = spec.candidate_id
    jobs = {step: str(uuid.uuid5(uuid.NAMESPACE_OID, key + step)) for step in ("sqs", "relax", "basin", "gap", "hops")}
    computed = order % SKIPPED != SKIPPED - 1
    drawn = rng.normal((1.2, 0.7, -2.4, -0.15), (0.6, 0.2, 0.3, 0.08))
    # Of another sequence, so that the others stay as they are without these.
    above, reaction = np.random.default_rng(order).normal((0.05, -0.1), (0.05, 0.06))
    numbers = (max(0.0, drawn[0]), max(0.05, drawn[1]), *drawn[2:], above, min(0.0, reaction))
    values = dict(zip(PROPERTIES, map(float, numbers), strict=True))
    found = {name: _quantity(name, value, list(jobs.values()), computed) for name, value in values.items()}
    hops = [_hop(k, values["migration_barrier"], rng, jobs["hops"]) for k in range(int(rng.integers(2, 5)))]
    result = CandidateResult(
        plan_id=f"plan{key[3:11]}", hops=hops, n_atoms=25, energy_per_atom=-7.5 + 0.1 * float(rng.normal()),
        shortest_image_distance=5.5, volume_per_atom=12.0, warren_cowley_rms=0.3, icet_l1=0.9, tilt="a-a-c+",
        transport=summary() if order == 0 else None, oxide_reaction="a synthetic reaction",
        thermodynamics=thermodynamics() if order == 0 else None,
        jobs=[_job(step, job) for step, job in jobs.items()], versions={"hemiec": "0.0.0"},
        confirmed_formation_enthalpy_from_oxides_per_atom=_quantity(PROPERTIES[3], 0.0, [], False), **found,
    )  # fmt: skip
    return CandidateDoc(
        candidate_id=key, candidate=spec, **composition_of(spec), results=[result] if computed else [],
        campaigns=[CAMPAIGN] if order % OTHER else [CAMPAIGN, OTHER_CAMPAIGN], input_hash=key[3:] * 4,
        builder_version=1, last_updated=NOW + timedelta(seconds=order), **found,
    )  # fmt: skip


def structure_doc(doc: CandidateDoc, seed: int = 0) -> StructureDoc:
    """Return the 25-atom cell of a candidate, ideal and with small displacements; oxygen vacancies are left out."""
    rng = np.random.default_rng(seed)
    spec, plan_id, jobs = doc.candidate, doc.results[0].plan_id, doc.results[0].jobs
    parent = _parent()
    mixed = [
        str(symbol)
        for site in ("A", "B")
        for symbol in rng.permutation([s for s, x in spec.sites[site].items() for _ in range(int(5 * Fraction(x)))])
    ]
    ideal = Structure(parent.lattice, [*mixed, *["O"] * 15], parent.frac_coords, labels=[*"AAAAABBBBB", *"X" * 15])
    relaxed = ideal.copy()
    relaxed.scale_lattice(ideal.volume * float(rng.uniform(0.95, 1.1)))
    relaxed.perturb(0.05)
    composition = ideal.composition
    return StructureDoc(
        structure_id=f"{doc.candidate_id}:{plan_id}:0", candidate_id=doc.candidate_id, plan_id=plan_id,
        label=spec.label, member=0, formula_pretty=composition.reduced_formula,
        formula_anonymous=composition.anonymized_formula, chemsys=composition.chemical_system,
        elements=sorted(e.symbol for e in composition), nelements=len(composition), nsites=len(ideal),
        ideal_structure=ideal.as_dict(), structure=relaxed.as_dict(), volume=float(relaxed.volume),
        density=float(relaxed.density), energy_per_atom=doc.results[0].energy_per_atom, max_force=0.02, tilt="a-a-c+",
        supercell=[list(row) for row in _CELL], shortest_image_distance=5.52, net_charge=0.0, rounding=0.0,
        warren_cowley_rms=0.3, icet_l1=0.9, seed=seed, sqs_job_uuid=jobs[0].uuid, relax_job_uuid=jobs[2].uuid,
        protocol="mlip-chgnet", protocol_hash="efe9e60f00b8", versions={"hemiec": "0.0.0"}, input_hash=doc.input_hash,
        last_updated=doc.last_updated,
    )  # fmt: skip


@cache
def _parent() -> Structure:
    cubic = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    return cubic.make_supercell(_CELL)


def references() -> list[ReferenceDoc]:
    """Return three reference phases, without structures."""
    return [
        ReferenceDoc(
            reference_id=f"{formula}-synthetic:efe9e60f00b8", phase=formula, **formula_composition(formula),
            energy_per_atom=energy, protocol="mlip-chgnet", protocol_hash="efe9e60f00b8", last_updated=NOW,
            job_uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, formula)),
        )
        for formula, energy in (("BaO", -6.234), ("SrO", -6.353), ("La2O3", -8.5))
    ]  # fmt: skip


def campaigns(n: int) -> list[CampaignDoc]:
    """Return the headers of the campaigns that asked for the candidates."""
    space = [{"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": 1}}]
    return [
        CampaignDoc(
            name=name, spec=CampaignSpec.model_validate({"name": name, "space": space}), n_candidates=number,
            references=[],
        )
        for name, number in ((CAMPAIGN, n), (OTHER_CAMPAIGN, -(-n // OTHER)))
    ]  # fmt: skip


def _insert(database: Database, batch: dict[str, list[dict[str, Any]]]) -> None:
    for name, documents in batch.items():
        if documents:
            database[name].insert_many(documents)


def _quantity(name: str, value: float, jobs: list[str], computed: bool) -> Quantity:
    about = {"unit": _UNITS[name], "method": f"synthetic {name}"}
    if not computed:
        return Quantity(value=None, reason="not computed yet", **about)
    return Quantity(
        value=value, n=4, std=0.05, min=value - 0.1, max=value + 0.1, interval=(value - 0.08, value + 0.08),
        protocol="mlip-chgnet", protocol_hash="efe9e60f00b8", job_uuids=jobs, **about,
    )  # fmt: skip


def _hop(k: int, barrier: float, rng: np.random.Generator, job: str) -> HopSummary:
    forward = max(0.02, barrier + 0.1 * float(rng.normal()))
    return HopSummary(
        hop=k, mobile="O", environment=("La-Sr | Co", "Ba-Sr | Fe", "La-La | Co", "Pr-Ba | Mn")[k],
        forward_barrier=forward, reverse_barrier=forward + 0.02, reaction_coordinate=[0.0, 1.4, 2.8],
        energies=[0.0, forward, -0.02], job_uuid=job,
    )  # fmt: skip


def _job(step: str, job: str) -> JobRecord:
    return JobRecord(uuid=job, step=step, name=f"{step} synthetic", state="completed", completed_at=NOW.isoformat())
