"""The parameters that addresses take; anything else is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from hemiec.store.queries.syntax import MAX_LENGTH

MAX_LIMIT = 1_000
#: Cursors carry the sorted value and the key of the last document.
_MAX_CURSOR = 1_000
_MAX_FIELDS = 2_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
#: Ids are hashes, names and numbers, joined with colons.
_ID = r"^[A-Za-z0-9][A-Za-z0-9._:()+-]*$"
_FORMULA = r"^([A-Z][a-z]?[0-9.]*|\(|\)[0-9.]*)+$"

CandidateId = Annotated[
    str,
    Path(
        description="Content hash of the composition: hm- and 16 hex digits.",
        examples=["hm-2ac74f1108b30964"],
        pattern=_NAME,
        max_length=64,
    ),
]
StructureId = Annotated[
    str,
    Path(
        description="candidate_id, plan_id and member, with colons.",
        examples=["hm-2ac74f1108b30964:plan2ac74f11:0"],
        pattern=_ID,
        max_length=200,
    ),
]
LeaderboardId = Annotated[
    str,
    Path(
        description="Content hash: lb- and 16 hex digits.",
        examples=["lb-50011a03cccfb956"],
        pattern=_NAME,
        max_length=64,
    ),
]


class Parameters(BaseModel):
    """Base of the parameters of all addresses; on its own, of those that take none."""

    model_config = ConfigDict(extra="forbid")


class Listing(Parameters):
    """Parameters of a list that comes in pages, in the order of its key."""

    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Documents per page at most; unit 1.", examples=[20])
    after: str | None = Field(
        None, max_length=_MAX_CURSOR, pattern=_ID, description="Key of the last document of the page before."
    )


class Paged(Parameters):
    """Parameters of a sorted list that comes in pages."""

    q: str = Field(
        "",
        max_length=MAX_LENGTH,
        description="Condition in the query language, such as `band_gap < 1.0 and has(Co) and not has(Pb)`; empty for "
        "all. `/fields` lists the names.",
    )
    sort: str = Field(max_length=100, description="Field of the order; documents without a value come last.")
    descending: bool = Field(False, description="Whether the largest come first.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Documents per page at most; unit 1.", examples=[20])
    count: bool = Field(True, description="Whether all that match are counted, which takes longer than the page.")
    after: str | None = Field(
        None,
        max_length=_MAX_CURSOR,
        pattern=r"^[A-Za-z0-9_=.-]+$",
        description="Where the page begins: the cursor in `next` of the page before, which holds for the same `q`, "
        "`sort` and `descending` only.",
    )
    fields: str | None = Field(
        None,
        max_length=_MAX_FIELDS,
        description="Names of the fields wanted, with commas between; default all of the document.",
        examples=["band_gap,migration_barrier"],
    )

    def wanted(self) -> list[str] | None:
        """Return the names in `fields`."""
        return None if self.fields is None else [name.strip() for name in self.fields.split(",") if name.strip()]


class CandidateQuery(Paged):
    """Parameters of a list of candidates."""

    q: str = Field(
        "",
        max_length=MAX_LENGTH,
        description=Paged.model_fields["q"].description,
        examples=["band_gap < 1.0 and has(Co) and not has(Pb)"],
    )
    sort: str = Field(
        "migration_barrier",
        max_length=100,
        description=Paged.model_fields["sort"].description,
        examples=["band_gap"],
    )


class HopQuery(Paged):
    """Parameters of a list of hops."""

    q: str = Field(
        "",
        max_length=MAX_LENGTH,
        description=Paged.model_fields["q"].description,
        examples=["forward_barrier < 0.5 and has(Sr)"],
    )
    sort: str = Field(
        "forward_barrier",
        max_length=100,
        description=Paged.model_fields["sort"].description,
        examples=["forward_barrier"],
    )


class ReferenceQuery(Listing):
    """Parameters of the list of reference phases."""

    formula_pretty: str | None = Field(
        None, max_length=60, pattern=_FORMULA, description="Reduced formula.", examples=["La2O3"]
    )
    protocol: str | None = Field(
        None, max_length=100, pattern=_NAME, description="Name of the protocol.", examples=["mlip-chgnet"]
    )


class WholeQuery(Parameters):
    """Parameters of one candidate."""

    whole: bool = Field(
        False, description="Whether its hops, transport, dynamics and thermodynamics are in the answer; large."
    )


class StructureQuery(Parameters):
    """Parameters of one structure."""

    format: Literal["json", "cif", "poscar"] = Field(
        "json", description="json: a pymatgen Structure, for `Structure.from_dict`.", examples=["cif"]
    )
    kind: Literal["relaxed", "ideal"] = Field(
        "relaxed", description="The relaxed cell, or the special quasirandom structure on ideal cubic sites."
    )


class EntriesQuery(Parameters):
    """Parameters of one saved leaderboard."""

    first: int = Field(0, ge=0, le=10_000_000, description="Place of the first entry wanted, from 0; unit 1.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Entries at most; unit 1.", examples=[20])


class CurrentQuery(Parameters):
    """Parameters of the leaderboard of this moment."""

    campaign: str | None = Field(
        None,
        max_length=64,
        pattern=_NAME,
        description="Only candidates of this campaign; default all in the store.",
        examples=["quickstart"],
    )
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Entries at most, the best first; unit 1.", examples=[20])


class ProvenanceQuery(Parameters):
    """Parameters of the provenance of a candidate."""

    property: str | None = Field(
        None,
        max_length=100,
        pattern=r"^[a-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$",
        description="One number, such as `migration_barrier`, `volume_per_atom` or `hops.3`; default all.",
        examples=["migration_barrier"],
    )


class FieldsQuery(Parameters):
    """Parameters of the list of fields."""

    collection: Literal["candidates", "hops", "structures"] = Field("candidates", description="Whose fields.")


NoParameters = Annotated[Parameters, Query()]
