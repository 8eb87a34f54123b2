"""A page that describes the API, made from its OpenAPI description; it loads nothing from anywhere and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from hemiec.web.headers import content_policy
from hemiec.web.parameters import NoParameters

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def show_page(request: Request, _: NoParameters) -> Response:
    """The addresses of the API with their parameters, and examples to follow."""
    app: FastAPI = request.app
    template = _environment().get_template("page.html.jinja")
    style = _style()
    html = template.render(
        about=app.openapi()["info"], addresses=_addresses(app.openapi()), style=style, optimade=app.state.optimade
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = content_policy(f"style-src 'sha256-{digest}'")
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy})


def _addresses(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the page says of each address."""
    found = []
    for path, methods in description["paths"].items():
        about = methods["get"]
        parameters = about.get("parameters", [])
        query = {p["name"]: p["schema"]["examples"][0] for p in parameters if p["in"] == "query" and _examples(p)}
        example = f"{path}?{urlencode(query)}" if query and "{" not in path else path
        found.append(
            {
                "path": path,
                "summary": about["summary"],
                "description": about.get("description", ""),
                "parameters": [_parameter(p) for p in parameters],
                "example": None if "{" in path else example,
            }
        )
    return found


def _examples(parameter: dict[str, Any]) -> list[Any]:
    examples: list[Any] = parameter["schema"].get("examples", [])
    return examples


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    choices = schema.get("anyOf", [schema])
    kind = schema.get("enum") or next(c.get("enum") or c.get("type") for c in choices)
    return {
        "name": parameter["name"],
        "place": parameter["in"],
        "kind": " | ".join(kind) if isinstance(kind, list) else kind,
        "default": "" if schema.get("default") is None else str(schema["default"]).lower(),
        "description": parameter.get("description", ""),
    }


@cache
def _environment() -> Environment:
    loader = PackageLoader("hemiec.web", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["marked_up"] = _marked_up
    return environment


def _marked_up(text: str) -> Markup:
    """Return text for the page; what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@cache
def _style() -> str:
    return files("hemiec.web").joinpath("page.css").read_text(encoding="utf-8")
