"""Jobs for the tests of large objects and of trust, in a module that workers can import."""

from __future__ import annotations

from typing import Any

from jobflow import Flow, Response, job

#: More than a document of MongoDB may have, in bytes.
LARGE = 17 * 1024**2


def text(size: int) -> str:
    """Return so many bytes, which take jobflow no time."""
    return "ACGT" * (size // 4)


@job
def large_output(extra: int = 1) -> dict[str, Any]:
    return {"energy": -1.0, "trajectory": text(LARGE), "small": [extra]}


@job
def large_text() -> str:
    return text(LARGE)


@job(data=["path"])
def declared() -> dict[str, Any]:
    return {"energy": -2.0, "path": text(1000), "other": text(LARGE)}


@job
def size_of(values: str, small: int = 0) -> dict[str, Any]:
    return {"n": len(values), "last": values[-1], "small": small}


@job
def hands_on() -> Response[Any]:
    """Add a job with an argument that is larger than a Firework may be, and go on with its output."""
    inner = size_of(text(LARGE), small=3)
    return Response(replace=Flow([inner], output=inner.output))


@job
def hands_on_much() -> Response[Any]:
    """Add a dozen jobs whose arguments fit into a Firework each, and not into what a launch returns."""
    inner = [size_of(text(2 * 1024**2), small=k) for k in range(12)]
    return Response(replace=Flow(inner, output=[one.output for one in inner]))
