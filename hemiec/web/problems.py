"""From any error to a status and a body of one form: ``{"error": {"message", "mend"}}``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import ExecutionTimeout, NetworkTimeout, PyMongoError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from hemiec.errors import HemiecError, InputError, StoreError, did_you_mean
from hemiec.store.outages import is_outage
from hemiec.web.headers import HEADERS

RETRY_AFTER_S = 5
_SHOWN = 80
_logger = logging.getLogger(__name__)


class ErrorBody(BaseModel):
    """What went wrong and what to do about it."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field(description="What was expected and what was got.")
    mend: str | None = Field(None, description="What to do about it; null if the message says it.")


class Progress(BaseModel):
    """How far the reading of the candidates has come."""

    model_config = ConfigDict(extra="forbid")

    done: int = Field(ge=0, description="Candidates read so far; unit 1.")
    total: int = Field(ge=0, description="Candidates in all, about; unit 1.")


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 or more."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorBody = Field(description="The error.")
    progress: Progress | None = Field(None, description="While the candidates are being read; else not there.")


class Problem(HemiecError):
    """A request that cannot be answered, with the HTTP status that says so."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        mend: str | None = None,
        headers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(message, mend=mend)
        self.status = status
        self.headers = dict(headers or {})
        self.progress = progress


def answer(problem: Problem) -> JSONResponse:
    """Return the answer that states a problem."""
    body = ErrorAnswer(error=ErrorBody(message=problem.message, mend=problem.mend), progress=problem.progress)
    content = body.model_dump(exclude={"progress"} if problem.progress is None else None)
    return JSONResponse(content, problem.status, {"Cache-Control": "no-store", **problem.headers})


def of_store(error: StoreError | PyMongoError) -> Problem:
    """Return the problem behind an error of the store: 504 if a time limit was met, 503 if it is away, else 500.

    What is no word of MongoDB's, such as a full disk or a damaged file, is a 503 that says what it is.
    """
    cause: BaseException | None = error
    while isinstance(cause, StoreError):
        cause = cause.__cause__
    if isinstance(cause, ExecutionTimeout | NetworkTimeout):
        if isinstance(error, StoreError) and error.message.startswith("query:"):
            return Problem(504, error.message, mend=error.mend)
        return Problem(504, "the query took too long and was stopped.", mend="narrow it, or ask for fewer documents")
    if isinstance(cause, PyMongoError) and not is_outage(cause):
        _logger.error("MongoDB refused a read", exc_info=error)
        return Problem(500, "the database refused the query.", mend="tell whoever runs this server")
    if not isinstance(cause, PyMongoError) and isinstance(error, StoreError):
        return Problem(503, error.message, mend=error.mend)
    retry = {"Retry-After": str(RETRY_AFTER_S)}
    return Problem(503, "the database cannot be reached.", mend="try again in a few seconds", headers=retry)


def not_found(kind: str, name: str, near: Iterable[str] = ()) -> Problem:
    """Return the problem of a document that is not there, with what may have been meant."""
    choices = list(near)
    return Problem(404, f"no {kind} {name[:_SHOWN]!r}.", mend=did_you_mean(name, choices) if choices else None)


def handle_problems(app: FastAPI) -> None:
    """Make an application answer every error in one form."""

    def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return answer(error)

    def wrong_input(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, InputError)
        return answer(Problem(422, error.message, mend=error.mend))

    def store(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StoreError | PyMongoError)
        return answer(of_store(error))

    def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(_invalid(request, error.errors()))

    def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        mend = {404: "see /docs for what there is", 405: "use GET or HEAD"}.get(error.status_code)
        return answer(Problem(error.status_code, f"{error.detail}.", mend=mend, headers=error.headers))

    def unexpected(_: Request, error: Exception) -> JSONResponse:
        # Starlette raises it again once this is sent, so the server's log has the traceback.
        message = f"unexpected {type(error).__name__}."
        mend = "tell whoever runs this server; its log says more"
        # This answer does not pass the middleware that adds them.
        return answer(Problem(500, message, mend=mend, headers=HEADERS))

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(InputError, wrong_input)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(PyMongoError, store)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _invalid(request: Request, errors: Sequence[Any]) -> Problem:
    """Return the problem of the first wrong parameter."""
    first = errors[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        known = parameters_of(request)
        hint = did_you_mean(name[:_SHOWN], known) if known else "this address takes none."
        return Problem(422, f"unknown parameter {name[:_SHOWN]!r}.", mend=hint)
    got = str(first.get("input"))[:_SHOWN]
    message = f"{name[:_SHOWN]}: {first['msg'].removeprefix('Value error, ')}, got {got!r}."
    return Problem(422, message)


def parameters_of(request: Request) -> list[str]:
    """Return the names of the query parameters that the address of a request takes."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is None:
        return []
    names: list[str] = []
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        fields = getattr(model, "model_fields", None)
        names += [parameter.alias] if fields is None else [field.alias or key for key, field in fields.items()]
    return names
