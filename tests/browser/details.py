"""Candidates with everything that the pages can show, in the store that is served."""

from __future__ import annotations

from stored_candidates import structure_doc
from transport_examples import dynamics

from hemiec.schemas.calculations import ElectronicStructure, GapCheck, GapStart
from hemiec.schemas.documents import CandidateDoc, CandidateResult
from hemiec.store.candidates import documents_of, read_candidates
from hemiec.store.database import Database

_GAP_JOB = "11111111-2222-5333-8444-555555555555"
#: Plan of the result that a rich candidate has beside its first one.
OTHER_PLAN = "planother"


def read(database: Database, candidate_id: str) -> CandidateDoc:
    """Return a stored candidate, whole."""
    return next(read_candidates(database, {"candidate_id": candidate_id}))


def insert_structures(database: Database, ids: list[str]) -> None:
    """Write a 25-atom cell for each of some candidates that have results."""
    for order, candidate_id in enumerate(ids):
        database["structures"].insert_one(structure_doc(read(database, candidate_id), seed=order).to_mongo())


def enrich(database: Database, candidate_id: str) -> CandidateDoc:
    """Give a candidate magnetic starts, molecular dynamics, DFT barriers and a second result; return it."""
    doc = read(database, candidate_id)
    first = doc.results[0]
    hop = first.hops[0].model_copy(update={"dft_forward_barrier": 0.71, "dft_reverse_barrier": 0.64,
                                           "dft_protocol": "gpaw-calibration", "dft_job_uuid": _GAP_JOB})  # fmt: skip
    lost = first.hops[-1].model_copy(update={"forward_barrier": None, "reverse_barrier": None, "energies": [],
                                             "reaction_coordinate": [], "reason": "no saddle was found"})  # fmt: skip
    rich = first.model_copy(
        update={"electronic": _electronic(), "gap_starts": _starts(), "dynamics": dynamics(),
                "hops": [hop, *first.hops[1:-1], lost]}
    )  # fmt: skip
    doc = doc.model_copy(update={"results": [rich, _without_transport(first)]})
    for name, documents in documents_of(doc).items():
        database[name].delete_many({"candidate_id": candidate_id})
        if documents:
            database[name].insert_many(documents)
    return doc


def _without_transport(result: CandidateResult) -> CandidateResult:
    barrier = result.migration_barrier.model_copy(
        update={"value": None, "interval": None, "std": None, "min": None, "max": None, "n": 0,
                "reason": "the campaign does not ask for it"}
    )  # fmt: skip
    changes = {
        "plan_id": OTHER_PLAN,
        "transport": None,
        "thermodynamics": None,
        "hops": [],
        "migration_barrier": barrier,
    }
    return result.model_copy(update=changes)


def _starts() -> list[GapStart]:
    known = [("ferromagnetic", -143.70, 0.0, 20.0), ("G-type", -143.68, 0.9, 0.0)]
    return [
        *(GapStart(magnetic_start=name, energy=energy, band_gap=gap, total_moment=moment, job_uuid=_GAP_JOB)
          for name, energy, gap, moment in known),
        GapStart(magnetic_start="A-type", energy=None, band_gap=None, total_moment=None, job_uuid=_GAP_JOB,
                 reason="the SCF did not converge"),
    ]  # fmt: skip


def _electronic() -> ElectronicStructure:
    return ElectronicStructure(
        band_gap=0.0, direct_gap=None, is_metal=True, valence_band_maximum=None, conduction_band_minimum=None,
        fermi_level=7.4, total_moment=20.0, site_moments=[0.0] * 25, oxygen_2p_center=-2.2, dos_at_fermi_level=2.8,
        kpoint_mesh=[2, 2, 2], smearing_eV=0.1, spin_polarised=True,
        kpoint_check=GapCheck(kpoint_mesh=[4, 4, 4], band_gap=0.0, is_metal=True),
    )  # fmt: skip
