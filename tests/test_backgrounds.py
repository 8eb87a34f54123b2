"""What the store tells the report of candidates beyond their entries. All numbers are synthetic."""

from __future__ import annotations

import pytest
from stored_candidates import SKIPPED, insert_candidates

from hemiec.errors import StoreError
from hemiec.ranking.entries import entry_of
from hemiec.ranking.report.background import background_of
from hemiec.ranking.report.cards import Card
from hemiec.store.backgrounds import read_backgrounds
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database

pytestmark = pytest.mark.store


def test_backgrounds_are_those_of_the_shown_result(database: Database) -> None:
    ids = insert_candidates(database, SKIPPED)
    found = read_backgrounds(database, [*ids, "hm-unknown"])
    assert sorted(found) == sorted(ids)
    docs = {doc.candidate_id: doc for doc in read_candidates(database)}
    for key in ids[:-1]:
        known, doc = found[key], docs[key]
        assert known.spec == doc.candidate
        assert [job.uuid for job in known.jobs] == [job.uuid for job in doc.results[0].jobs]
        assert [structure.candidate_id for structure in known.structures] == [key]
        card = Card.of(entry_of(doc), known)
        assert card.structure is not None
        # Labels or composition tell the sublattices; each octahedron has a B in it.
        assert sum(card.amounts["B"].values()) == len(card.structure["octahedra"]) == 5
    # The last one has no result yet: its composition is known, and that it has no structure is said.
    empty = found[ids[-1]]
    assert (list(empty.structures), list(empty.jobs)) == ([], [])
    assert Card.of(entry_of(docs[ids[-1]]), empty).no_structure == "no structure of the shown result is stored"
    # Structures of another result are not shown with this one's numbers.
    other = found[ids[0]].structures[0].model_copy(update={"plan_id": "another"})
    assert list(background_of(docs[ids[0]], [other]).structures) == []


def test_structure_that_cannot_be_read_is_an_error(database: Database) -> None:
    (key,) = insert_candidates(database, 1)
    database["structures"].update_one({}, {"$unset": {"seed": 1}}, bypass_document_validation=True)
    with pytest.raises(StoreError, match=r"structure .*cannot be read"):
        read_backgrounds(database, [key])
