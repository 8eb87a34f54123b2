"""The OpenAPI description: what FastAPI makes of the addresses, with examples, headers and errors."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hemiec.web.problems import ErrorAnswer

TEXT = """Results of high-throughput screening of high-entropy perovskites, read-only.

Numbers come with unit, method, spread and the jobs behind them. Conditions (`q`) are written in hemiec's query
language, as in `band_gap < 1.0 and has(Co) and not has(Pb)`; `/fields` lists what they can name. Lists come in pages:
`next` in the body and in the Link header is the address of the next one, without host. Every error has the body
`{"error": {"message": ..., "mend": ...}}`. Unknown parameters are refused. The numbers in the examples are made up."""
#: Errors that every address may answer with.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "The address is not text.",
        413: "A body was sent.",
        414: "The address is too long.",
        422: "A parameter is unknown or wrong.",
        429: "Too many requests; Retry-After says when to come back.",
        431: "The headers are too long.",
        500: "The server failed; its log says why.",
        503: "The database cannot be reached.",
        504: "The query took too long.",
    }.items()
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer, "description": "There is none of that id."}}
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A file.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "application/x-tex": {"schema": {"type": "string"}},
        },
    }
}
TOKEN_WRONG: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorAnswer, "description": "The token is missing or wrong."}
}
_EXAMPLE_ERROR = {"error": {"message": "unknown parameter 'lmit'.", "mend": "did you mean 'limit'?"}}
_HEADERS = {
    "ETag": "Tag of this answer, for If-None-Match.",
    "Cache-Control": "How long the answer may be kept.",
    "Link": "Address of the next page, if there is one.",
}


def describe(app: FastAPI, *, token: bool) -> None:
    """Give an application its description, which is made when it is first asked for."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            for path, methods in made["paths"].items():
                _complete(methods["get"], token=token and not path.endswith("/health"))
            if token:
                made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], *, token: bool) -> None:
    """Add to the description of one address what its function does not say."""
    answers = operation["responses"]
    found = answers["200"]
    found["description"] = operation["description"]
    found["headers"] = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in _HEADERS.items()
        if name != "Link" or any(parameter["name"] == "after" for parameter in operation.get("parameters", []))
    }
    for kind, example in _examples().get(operation["operationId"], {}).items():
        found["content"][kind]["example"] = example
    for status, error in answers.items():
        if int(status) >= 400:
            error["content"]["application/json"]["example"] = _EXAMPLE_ERROR
    answers["429"]["headers"] = {"Retry-After": {"description": "In s.", "schema": {"type": "integer"}}}
    answers["304"] = {"description": "Not changed since the answer with the tag in If-None-Match."}
    if token:
        operation["security"] = [{"token": []}]


@cache
def _examples() -> dict[str, dict[str, Any]]:
    """Return name of an address to media type to an answer."""
    text = files("hemiec.web").joinpath("examples.json").read_text(encoding="utf-8")
    examples: dict[str, dict[str, Any]] = json.loads(text)
    return examples
