"""What is few: reference phases, campaigns, the fields of queries, and whether the server works."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

import hemiec
from hemiec.store.queries.fields import fields_of
from hemiec.store.queries.language import FUNCTIONS
from hemiec.store.queries.page import sort_fields
from hemiec.web.answers import send_json
from hemiec.web.listing import send_listing
from hemiec.web.models import CampaignPage, FieldList, Health, ReferencePage
from hemiec.web.parameters import FieldsQuery, Listing, NoParameters, ReferenceQuery
from hemiec.web.reading import Read

router = APIRouter()


@router.get("/references", response_model=ReferencePage, tags=["references"], summary="Reference phases")
def list_references(request: Request, read: Read, query: Annotated[ReferenceQuery, Query()]) -> Response:
    """Energies of reference phases, each within one protocol."""
    wanted = {"formula_pretty": query.formula_pretty, "protocol": query.protocol}
    where = {name: value for name, value in wanted.items() if value is not None}
    fields = {"_id": 0, "structure": 0}
    return send_listing(request, read, query, "references", "reference_id", where=where, fields=fields)


@router.get("/campaigns", response_model=CampaignPage, tags=["campaigns"], summary="Campaigns")
def list_campaigns(request: Request, read: Read, query: Annotated[Listing, Query()]) -> Response:
    """The campaigns that were submitted to this store."""
    fields = {
        "_id": 0,
        "name": 1,
        "description": "$spec.description",
        "n_candidates": 1,
        "last_submitted": {"$ifNull": ["$last_submitted", None]},
    }
    return send_listing(request, read, query, "campaigns", "name", fields=fields)


@router.get("/fields", response_model=FieldList, tags=["queries"], summary="What queries can name")
def list_fields(request: Request, query: Annotated[FieldsQuery, Query()]) -> Response:
    """The fields of the query language with their units, from the schemas of the documents."""
    sortable = sort_fields(query.collection)
    fields = [
        {
            "name": field.name,
            "kind": field.kind,
            "unit": field.unit or None,
            "sortable": field.name in sortable,
            "description": field.description,
        }
        for field in fields_of(query.collection).values()
    ]
    functions = list(FUNCTIONS.values())
    return send_json(request, {"collection": query.collection, "fields": fields, "functions": functions})


@router.get("/health", response_model=Health, tags=["server"], summary="Whether it works")
def show_health(request: Request, read: Read, _: NoParameters) -> Response:
    """Whether the server and its database answer; it needs no token."""
    with read() as database:
        database.mongo.command("ping")
    return send_json(request, {"status": "ok", "version": hemiec.__version__}, cache="no-store")
