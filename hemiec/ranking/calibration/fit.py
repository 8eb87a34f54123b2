"""Corrections of a cheap tier towards a dear one, fitted to points of both, and their use on quantities."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import cast, get_args

import numpy as np
from pymatgen.core import Element

import hemiec
from hemiec.errors import InputError
from hemiec.ranking.calibration.regression import MIN_POINTS, Line, Parameter, Prediction, fit_line
from hemiec.schemas.calibration import (
    CalibratedProperty,
    CalibrationDoc,
    CalibrationFit,
    CalibrationPoint,
    ChemistryClass,
    ClassFit,
    Estimate,
)
from hemiec.schemas.documents import PROPERTIES, CandidateResult, CandidateSpec
from hemiec.schemas.quantity import Quantity

#: Goes up whenever the same points would give other predictions.
MODEL = "bayesian-line-1"
LEVEL = 0.9
#: Fewer cells than this say too little of their own spread.
MIN_GROUPS = 4
_CLASSES: dict[ChemistryClass, float] = {"closed-shell": 0.0, "open-shell": 1.0}
#: A mean valence within this of an empty or a full shell counts as one.
_SHELL_TOLERANCE = 0.1

_Numbers = tuple[tuple[float, float, float, str], ...]


def open_shell_fraction(candidate: CandidateSpec) -> float:
    """Return the part of the B sublattice whose d shell is neither empty nor full; unit 1.

    The number of d electrons is the group number minus the formal oxidation state; elements outside groups 3 to 11 have
    none that count. Potentials are worst where these shells are partly filled.
    """
    total = 0.0
    for symbol, fraction in candidate.sites["B"].items():
        if symbol not in candidate.oxidation_states:  # a vacancy
            continue
        element = Element(symbol)
        d_electrons = element.group - candidate.oxidation_states[symbol]
        if element.block == "d" and _SHELL_TOLERANCE < d_electrons < 10 - _SHELL_TOLERANCE:
            total += float(Fraction(fraction))
    return total


def chemistry_class(open_fraction: float) -> ChemistryClass:
    """Return the class that a B sublattice is counted in: open-shell from one half."""
    return "open-shell" if open_fraction >= 0.5 else "closed-shell"


def fit_calibrations(points: Iterable[CalibrationPoint]) -> list[CalibrationDoc]:
    """Return one calibration per pair of protocols in the points, in the order of their names.

    Points of another hash of the dear tier are another pair; points of a cheap tier of another hash get their own fit.

    Raises
    ------
    InputError
        If points of one property come in different units.
    """
    pairs: dict[tuple[str, str, str], list[CalibrationPoint]] = {}
    for point in points:
        pairs.setdefault((point.low_protocol, point.high_protocol, point.high_protocol_hash), []).append(point)
    return [_fit_pair(pair, members) for pair, members in sorted(pairs.items())]


def predict(calibration: CalibrationDoc, fit: CalibrationFit, value: float, open_fraction: float) -> Prediction:
    """Return the dear tier's value in a cell that is not among the points, with its 90 % interval.

    Parameters
    ----------
    calibration, fit
        One of the calibration's fits.
    value
        The cheap tier's value, in the unit of the fit.
    open_fraction
        Open-shell fraction of the B sublattice; see :func:`open_shell_fraction`.
    """
    return _line(_numbers(points_of_fit(calibration, fit))).predict(value, open_fraction, level=LEVEL)


def calibrated(
    name: str, quantity: Quantity, candidate: CandidateSpec, calibrations: Sequence[CalibrationDoc]
) -> Quantity:
    """Return a quantity with its correction and 90 % interval, or as it was where no calibration is for it.

    A calibration is for the hash of the protocol that it was fitted to and no other, and for chemistries between those
    of its points; of several, the one with most cells is used. `value`, `min`, `max` and `std` are moved along the
    fitted line; barriers end at 0. The interval holds the error of the correction and that of the quantity itself, as
    its own interval says (sites and hops that were not computed, several structures), added in squares on either side.

    Parameters
    ----------
    name
        Which property of a candidate the quantity is.
    quantity
        The cheap tier's number.
    candidate
        Whose it is.
    calibrations
        What is known; with none, the quantity is returned as it is.
    """
    known = any(fit.property == name for calibration in calibrations for fit in calibration.fits)
    if quantity.value is None or quantity.calibration is not None or not known:
        return quantity
    found = _choose(name, quantity, calibrations)
    if found is None:
        return _with_note(quantity, f"not corrected: no calibration of {quantity.protocol} {quantity.protocol_hash}")
    calibration, fit = found
    fraction = open_shell_fraction(candidate)
    if not fit.open_shell_range[0] <= fraction <= fit.open_shell_range[1]:
        return _with_note(
            quantity, f"not corrected: no calibration point of this chemistry in {calibration.calibration_id}"
        )
    line = _line(_numbers(points_of_fit(calibration, fit)))
    prediction = line.predict(quantity.value, fraction, level=LEVEL)
    slope = line.slope(fraction).mean
    change = prediction.value - quantity.value
    own_low, own_high = quantity.interval or (quantity.value, quantity.value)
    below, above = ((abs(edge - quantity.value) * abs(slope)) for edge in (own_low, own_high))
    floor = 0.0 if name == "migration_barrier" else -math.inf  # a line knows nothing of what a barrier can be
    moved = {
        edge: None if sample is None else max(floor, sample + change + (slope - 1) * (sample - quantity.value))
        for edge, sample in (("min", quantity.min), ("max", quantity.max))
    }
    return quantity.model_copy(
        update={
            **moved,
            "value": max(floor, prediction.value),
            "std": None if quantity.std is None else quantity.std * abs(slope),
            "interval": (
                max(floor, prediction.value - math.hypot(prediction.value - prediction.low, below)),
                max(floor, prediction.value + math.hypot(prediction.high - prediction.value, above)),
            ),
            "uncorrected": quantity.value,
            "calibration": calibration.calibration_id,
            "method": quantity.method + _explain(quantity, calibration, fit),
        }
    )


def calibrated_result(
    result: CandidateResult, candidate: CandidateSpec, calibrations: Sequence[CalibrationDoc]
) -> CandidateResult:
    """Return a result with each of its ranked properties as :func:`calibrated` leaves it."""
    corrected = {name: calibrated(name, getattr(result, name), candidate, calibrations) for name in PROPERTIES}
    return result.model_copy(update=corrected)


def _choose(
    name: str, quantity: Quantity, calibrations: Sequence[CalibrationDoc]
) -> tuple[CalibrationDoc, CalibrationFit] | None:
    fitting = [
        (calibration, fit)
        for calibration in calibrations
        for fit in calibration.fits
        if fit.property == name and fit.low_protocol_hash == quantity.protocol_hash and fit.unit == quantity.unit
    ]
    return max(fitting, key=lambda pair: (pair[1].n_groups, pair[1].n_points, pair[0].calibration_id), default=None)


def _explain(quantity: Quantity, calibration: CalibrationDoc, fit: CalibrationFit) -> str:
    assert quantity.value is not None
    text = f"; corrected to {calibration.high_protocol} ({calibration.calibration_id}: {fit.n_groups} cells)"
    if not fit.range[0] <= quantity.value <= fit.range[1]:
        text += f", extrapolated beyond its points ({fit.range[0]:.2f} to {fit.range[1]:.2f} {fit.unit})"
    return text


def _with_note(quantity: Quantity, note: str) -> Quantity:
    return quantity.model_copy(update={"method": f"{quantity.method}; {note}"})


def _fit_pair(pair: tuple[str, str, str], points: list[CalibrationPoint]) -> CalibrationDoc:
    ordered = sorted(points, key=lambda p: (p.property, p.low_protocol_hash, p.group, p.source, p.low, p.high))
    fits, too_few = [], {}
    for name in get_args(CalibratedProperty):
        of_property = [p for p in ordered if p.property == name]
        for low_hash in sorted({p.low_protocol_hash for p in of_property}):
            chosen = [p for p in of_property if p.low_protocol_hash == low_hash]
            cells = Counter(p.group for p in chosen)
            if len(cells) >= MIN_GROUPS and len(chosen) - max(cells.values()) >= MIN_POINTS:
                fits.append(_fit_property(cast(CalibratedProperty, name), chosen))
            else:
                too_few[name] = (
                    f"{len(chosen)} points of {len(cells)} cells; at least {MIN_GROUPS} cells are needed, and "
                    f"{MIN_POINTS} points without those of any one cell"
                )
    content = json.dumps([MODEL, [p.to_mongo() for p in ordered]], sort_keys=True)
    return CalibrationDoc(
        calibration_id=f"cal-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
        model=MODEL,
        low_protocol=pair[0],
        high_protocol=pair[1],
        high_protocol_hash=pair[2],
        fits=fits,
        too_few=too_few,
        points=ordered,
        created_at=datetime.now(UTC),
        versions={"hemiec": hemiec.__version__},
    )


def _fit_property(name: CalibratedProperty, points: list[CalibrationPoint]) -> CalibrationFit:
    units = sorted({p.unit for p in points})
    if len(units) > 1:
        raise InputError(f"calibration points of {name}: expected one unit, got {', '.join(units)}.")
    line = _line(_numbers(points))
    left_out = leave_one_group_out(points)
    inside = [p.low <= point.high <= p.high for point, p in zip(points, left_out, strict=True)]
    errors = np.array([point.high - p.value for point, p in zip(points, left_out, strict=True)])
    fractions = [p.open_shell_fraction for p in points]
    lows = [p.low for p in points]
    return CalibrationFit(
        property=name,
        unit=units[0],
        low_protocol_hash=points[0].low_protocol_hash,
        center=line.center,
        range=(min(lows), max(lows)),
        open_shell_range=(min(fractions), max(fractions)),
        classes=[_class_fit(chemistry, line, points, inside) for chemistry in _CLASSES],
        intraclass_correlation=_estimate(line.intraclass_correlation()),
        n_points=len(points),
        n_groups=len({p.group for p in points}),
        coverage=float(np.mean(inside)),
        error_before=float(np.sqrt(np.mean([(p.high - p.low) ** 2 for p in points]))),
        error_after=float(np.sqrt(np.mean(errors**2))),
    )


def leave_one_group_out(points: Sequence[CalibrationPoint]) -> list[Prediction]:
    """Return the prediction of each point from the points of all other cells, in the order of the points."""
    lines = {}
    for group in {p.group for p in points}:
        lines[group] = _line(_numbers([p for p in points if p.group != group]))
    return [lines[p.group].predict(p.low, p.open_shell_fraction, level=LEVEL) for p in points]


def _class_fit(
    chemistry: ChemistryClass, line: Line, points: Sequence[CalibrationPoint], inside: Sequence[bool]
) -> ClassFit:
    at = _CLASSES[chemistry]
    mine = [i for i, p in enumerate(points) if chemistry_class(p.open_shell_fraction) == chemistry]
    return ClassFit(
        chemistry=chemistry,
        offset=_estimate(line.offset(at)),
        slope=_estimate(line.slope(at)),
        residual_std=_estimate(line.residual(at)),
        n_points=len(mine),
        n_groups=len({points[i].group for i in mine}),
        coverage=float(np.mean([inside[i] for i in mine])) if mine else None,
    )


def _estimate(parameter: Parameter) -> Estimate:
    return Estimate(value=parameter.mean, std=parameter.std)


def points_of_fit(calibration: CalibrationDoc, fit: CalibrationFit) -> list[CalibrationPoint]:
    """Return the points that a fit was made from."""
    return [
        p for p in calibration.points if p.property == fit.property and p.low_protocol_hash == fit.low_protocol_hash
    ]


def _numbers(points: Iterable[CalibrationPoint]) -> _Numbers:
    return tuple((p.low, p.high, p.open_shell_fraction, p.group) for p in points)


@lru_cache(maxsize=64)
def _line(numbers: _Numbers) -> Line:
    low, high, fraction = (np.array([row[i] for row in numbers], dtype=float) for i in range(3))
    return fit_line(low, high, fraction, [row[3] for row in numbers])
