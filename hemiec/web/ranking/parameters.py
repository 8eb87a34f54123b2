"""The parameters of addresses that rank the table in memory."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field
from pymatgen.core import Element

from hemiec.errors import InputError
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.queries.syntax import MAX_LENGTH
from hemiec.web.parameters import _NAME, MAX_LIMIT, Parameters

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?"
_ELEMENTS = r"^[A-Z][a-z]?(,[A-Z][a-z]?)*$"
_PROPERTY = r"^[a-z_]+$"
_RULES = r"^[a-z0-9-]+$"
_SIDE = r"^(snap|lb)-[0-9a-f]{16}$"
#: The most candidates that one scatter shows.
MAX_POINTS = 20_000

CampaignName = Annotated[
    str,
    Path(description="Name of the campaign.", examples=["quickstart"], pattern=_NAME, max_length=64),
]
SnapshotId = Annotated[
    str,
    Path(
        description="Content hash: snap- and 16 hex digits.",
        examples=["snap-0123456789abcdef"],
        pattern=r"^snap-[0-9a-f]{16}$",
        max_length=64,
    ),
]


def elements_of(text: str | None) -> tuple[str, ...]:
    """Return the elements that a parameter names, each once, by the alphabet.

    Raises
    ------
    InputError
        If one is no element.
    """
    found = () if text is None else tuple(sorted(set(text.split(","))))
    for symbol in found:
        if not Element.is_valid_symbol(symbol):
            raise InputError(f"elements: {symbol!r} is not the symbol of an element.")
    return found


class CardQuery(Parameters):
    """Which rules, and which candidates are ranked by them."""

    definition: str | None = Field(
        None,
        max_length=64,
        pattern=_RULES,
        description="Name of the leaderboard's definition, of `/definitions`; default the first of them.",
        examples=["as-asked"],
    )
    weights: str | None = Field(
        None,
        max_length=500,
        pattern=rf"^[a-z_]{{1,60}}:{_NUMBER}(,[a-z_]{{1,60}}:{_NUMBER})*$",
        description="Weights instead of the definition's: criterion, colon, number, with commas between; 0 leaves a "
        "criterion out.",
        examples=["band_gap:2,migration_barrier:0.5"],
    )
    where: str = Field(
        "",
        max_length=MAX_LENGTH,
        description="Condition in the query language beside the definition's own; `/fields` lists the names.",
        examples=["energy_above_hull < 0.05 and not has(Pb)"],
    )
    campaign: str | None = Field(
        None, max_length=64, pattern=_NAME, description="Only candidates of this campaign.", examples=["quickstart"]
    )
    elements: str | None = Field(
        None,
        max_length=400,
        pattern=_ELEMENTS,
        description="Elements that candidates must have, all of them, with commas between.",
        examples=["Co,La"],
    )
    without: str | None = Field(
        None,
        max_length=400,
        pattern=_ELEMENTS,
        description="Elements that they must not have, none of them, with commas between.",
        examples=["Pb"],
    )


class RankingQuery(CardQuery):
    """Which page of the ranked list."""

    sort: str = Field(
        "rank",
        max_length=60,
        pattern=_PROPERTY,
        description=f"rank, label or one of {', '.join(PROPERTIES)}; candidates without it come last.",
        examples=["rank"],
    )
    descending: bool = Field(False, description="Whether the largest come first.")
    first: int = Field(0, ge=0, le=10_000_000, description="Place of the first row wanted, from 0; unit 1.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Rows at most; unit 1.", examples=[20])


class UncertaintyQuery(RankingQuery):
    """Which page, and how many draws."""

    draws: int = Field(200, ge=100, le=1_000, description="Random draws; unit 1.", examples=[200])


class PointsQuery(CardQuery):
    """Which points of a scatter of two properties."""

    x: str = Field(
        "band_gap", max_length=60, pattern=_PROPERTY, description="Property to the right.", examples=["band_gap"]
    )
    y: str = Field(
        "migration_barrier", max_length=60, pattern=_PROPERTY, description="Property upwards.",
        examples=["migration_barrier"],
    )  # fmt: skip
    xmin: float | None = Field(None, allow_inf_nan=False, description="Smallest x, in its unit.", examples=[0.0])
    xmax: float | None = Field(None, allow_inf_nan=False, description="Largest x, in its unit.", examples=[2.0])
    ymin: float | None = Field(None, allow_inf_nan=False, description="Smallest y, in its unit.", examples=[0.0])
    ymax: float | None = Field(None, allow_inf_nan=False, description="Largest y, in its unit.", examples=[1.5])
    limit: int = Field(5_000, ge=1, le=MAX_POINTS, description="Points at most; unit 1.", examples=[1_000])


class ExportQuery(CardQuery):
    """Which list as a file."""

    format: Literal["csv", "json", "parquet", "latex"] = Field("csv", description="Format of the file.")


class DiffQuery(Parameters):
    """Which two snapshots or saved leaderboards are compared."""

    old: str = Field(
        max_length=64,
        pattern=_SIDE,
        description="Id of the earlier snapshot, or of a saved leaderboard.",
        examples=["snap-0123456789abcdef"],
    )
    new: str = Field(
        max_length=64, pattern=_SIDE, description="Id of the later one.", examples=["snap-fedcba9876543210"]
    )
    definition: str | None = Field(
        None,
        max_length=64,
        pattern=_RULES,
        description="Name of the rules that both are ranked by; default what each was ranked by or taken for.",
        examples=["as-asked"],
    )
    limit: int = Field(MAX_LIMIT, ge=1, le=MAX_LIMIT, description="Candidates listed at most; unit 1.", examples=[20])


class ProgressQuery(Parameters):
    """Which candidates of a campaign."""

    first: int = Field(0, ge=0, le=10_000_000, description="Place of the first candidate wanted, from 0; unit 1.")
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Candidates at most; unit 1.", examples=[20])
