"""Calibration points that come with hemiec, or from a file of the same form."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from hemiec.errors import InputError
from hemiec.ranking.calibration.fit import fit_calibrations
from hemiec.schemas.calibration import CalibrationDoc, CalibrationSet


def shipped_sets() -> list[CalibrationSet]:
    """Return the sets of points in ``hemiec/calibrations``, in the order of their file names."""
    folder = resources.files("hemiec") / "calibrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return [read_set(file) for file in files]


@lru_cache(maxsize=1)
def shipped_calibrations() -> tuple[CalibrationDoc, ...]:
    """Return the calibrations fitted to the shipped points alone; the fit takes seconds and is kept."""
    return tuple(fit_calibrations(point for points in shipped_sets() for point in points.points))


def read_set(file: Path | Traversable) -> CalibrationSet:
    """Return the points in a file.

    Raises
    ------
    InputError
        If the file is missing or its content is not a set of points.
    """
    try:
        return CalibrationSet.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{file}: no such file of calibration points.", mend="write one in the form of hemiec/calibrations/*.json"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error.__class__.__name__}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{file}: {where + ': ' if where else ''}{first['msg']}.") from error
