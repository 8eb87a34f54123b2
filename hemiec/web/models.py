"""What answers look like, for the OpenAPI description; documents are sent as they are stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, create_model

from hemiec.schemas.documents import CandidateDoc, ReferenceDoc
from hemiec.schemas.leaderboard import LeaderboardDoc, StoredLeaderboard
from hemiec.schemas.quantity import Document
from hemiec.schemas.stored import HopDoc, StructureDoc

#: Fields of a structure that are sent only with the structure itself.
COORDINATES = ("structure", "ideal_structure")


def _without(model: type[Document], name: str, dropped: tuple[str, ...], doc: str) -> type[Document]:
    """Return a schema without some of its fields."""
    kept: dict[str, Any] = {
        field: (info.annotation, info) for field, info in model.model_fields.items() if field not in dropped
    }
    return create_model(name, __base__=Document, __doc__=doc, **kept)


CandidateSummary = _without(
    CandidateDoc, "CandidateSummary", ("results",), "A candidate without its results of single plans."
)
StructureSummary = _without(StructureDoc, "StructureSummary", COORDINATES, "A structure without its coordinates.")
ReferenceSummary = _without(ReferenceDoc, "ReferenceSummary", ("structure",), "A reference phase.")


class Row(Document):
    """The fields that were asked for: name to value, null where there is none."""

    model_config = ConfigDict(extra="allow")


class _Page(Document):
    next: str | None = Field(description="Address of the next page, without host; null on the last one.")


class _Counted(_Page):
    count: int | None = Field(
        None, description="How many documents match in all; at least, if `count_capped`; unit 1; not with count=false."
    )
    count_capped: bool | None = Field(
        None, description="Whether there may be more: no more than some thousand are counted; not with count=false."
    )


class CandidatePage(_Counted):
    """A page of candidates."""

    documents: list[CandidateSummary | Row] = Field(description="Candidates; rows, where `fields` were asked for.")  # type: ignore[valid-type]


class HopPage(_Counted):
    """A page of hops."""

    documents: list[HopDoc | Row] = Field(description="Hops; rows, where `fields` were asked for.")


class ReferencePage(_Page):
    """A page of reference phases."""

    documents: list[ReferenceSummary] = Field(description="Reference phases, in the order of their keys.")  # type: ignore[valid-type]


class LeaderboardPage(_Page):
    """A page of saved leaderboards without their entries."""

    documents: list[StoredLeaderboard] = Field(description="Leaderboards, in the order of their keys.")


class CampaignSummary(Document):
    """A campaign that was submitted to this store."""

    name: str = Field(description='Name of the campaign; `campaign = "NAME"` asks for its candidates.')
    description: str = Field(description="What the campaign is for, by whoever wrote it.")
    n_candidates: int = Field(description="Number of its candidates; unit 1.")
    last_submitted: datetime | None = Field(description="When it was last submitted, UTC; null if not recorded.")


class CampaignPage(_Page):
    """A page of campaigns."""

    documents: list[CampaignSummary] = Field(description="Campaigns, by name.")


class StructureList(Document):
    """The structures of a candidate."""

    documents: list[StructureSummary] = Field(description="Its special quasirandom structures, without coordinates.")  # type: ignore[valid-type]


class CurrentLeaderboard(LeaderboardDoc):
    """The candidates of this moment, ranked; the entries without what has collections of its own."""

    n_entries: int = Field(description="Number of candidates, those beyond `limit` too; unit 1.")


class FieldDoc(Document):
    """A field that queries can name."""

    name: str = Field(description="Name in the query language.")
    kind: str = Field(description="number, text, texts (a list), date or truth.")
    unit: str | None = Field(description="Unit of a number; null for other kinds.")
    sortable: bool = Field(description="Whether lists can be sorted by it.")
    description: str = Field(description="What it is.")


class FieldList(Document):
    """The fields of a collection, and functions, that queries can name."""

    collection: str = Field(description="Whose fields.")
    fields: list[FieldDoc] = Field(description="The fields.")
    functions: list[str] = Field(description="What else can stand in a query, such as has(Co).")


class Health(Document):
    """Whether the server and its database answer."""

    status: str = Field(description="ok; else the answer is an error.")
    version: str = Field(description="Version of hemiec.")
