"""Calibration points of the candidates in the store, and the calibrations fitted to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pymongo import DESCENDING

from hemiec.errors import StoreError
from hemiec.ranking.calibration.fit import MODEL, fit_calibrations, open_shell_fraction
from hemiec.ranking.calibration.shipped import shipped_calibrations
from hemiec.schemas.calibration import CalibrationDoc, CalibrationPoint
from hemiec.schemas.documents import CandidateDoc, CandidateResult
from hemiec.store.candidates import read_candidates
from hemiec.store.database import Database, store_errors
from hemiec.units import EV

COLLECTION = "calibrations"


def collect_points(database: Database) -> list[CalibrationPoint]:
    """Return a point for every property that a candidate in the store has in both tiers.

    Raises
    ------
    StoreError
        If a candidate was stored by another version of hemiec, or the database cannot be reached.
    """
    points = []
    with store_errors():
        for candidate in read_candidates(database):
            points += points_of(candidate)
    return points


def points_of(candidate: CandidateDoc) -> list[CalibrationPoint]:
    """Return the points of one candidate: barriers of both directions and vacancies at both ends of each hop, and
    enthalpies from oxides.
    """
    return [
        point for result in candidate.results for point in (*_hops(candidate, result), *_enthalpy(candidate, result))
    ]


def save_calibration(database: Database, calibration: CalibrationDoc) -> None:
    """Store a calibration; it is from then on the current one of its pair of protocols."""
    with store_errors():
        key = {"calibration_id": calibration.calibration_id}
        database[COLLECTION].replace_one(key, calibration.to_mongo(), upsert=True)


def current_calibrations(database: Database) -> list[CalibrationDoc]:
    """Return the calibration to use for each pair of protocols: the latest stored one, else that of the shipped points.

    One that another version of the model was fitted by is fitted again to its own points.
    """
    current: dict[tuple[str, str, str], CalibrationDoc] = {}
    with store_errors():
        for raw in database[COLLECTION].find({}, {"_id": 0}).sort("created_at", DESCENDING):
            try:
                calibration = CalibrationDoc.model_validate(raw)
            except ValidationError as error:
                raise StoreError(
                    f"calibration {raw.get('calibration_id')}: stored by another version of hemiec.",
                    mend="run `hemiec calibrate`",
                ) from error
            current.setdefault(_pair(calibration), calibration)
    for pair, calibration in current.items():
        if calibration.model != MODEL:
            current[pair] = fit_calibrations(calibration.points)[0]
    for calibration in shipped_calibrations():
        current.setdefault(_pair(calibration), calibration)
    return [current[pair] for pair in sorted(current)]


def _pair(calibration: CalibrationDoc) -> tuple[str, str, str]:
    return calibration.low_protocol, calibration.high_protocol, calibration.high_protocol_hash


def _hops(candidate: CandidateDoc, result: CandidateResult) -> Iterator[CalibrationPoint]:
    low = result.migration_barrier
    for hop in result.hops:
        about = {
            "unit": EV,
            "low_protocol": low.protocol,
            "low_protocol_hash": low.protocol_hash,
            "high_protocol": hop.dft_protocol,
            "high_protocol_hash": hop.dft_protocol_hash,
            "job_uuids": [uuid for uuid in (hop.job_uuid, hop.dft_job_uuid) if uuid is not None],
        }
        pairs = [
            ("migration_barrier", hop.forward_barrier, hop.dft_forward_barrier),
            ("migration_barrier", hop.reverse_barrier, hop.dft_reverse_barrier),
            *(
                ("vacancy_formation_energy", mlip, dft)
                for mlip, dft in zip(hop.vacancy_formation_energies, hop.dft_vacancy_formation_energies, strict=False)
            ),
        ]
        for name, mlip, dft in pairs:
            yield from _point(candidate, result, {"property": name, "low": mlip, "high": dft, **about})


def _enthalpy(candidate: CandidateDoc, result: CandidateResult) -> Iterator[CalibrationPoint]:
    low = result.formation_enthalpy_from_oxides_per_atom
    high = result.confirmed_formation_enthalpy_from_oxides_per_atom
    about = {
        "property": "formation_enthalpy_from_oxides_per_atom",
        "low": low.value if low.uncorrected is None else low.uncorrected,
        "high": high.value,
        "unit": low.unit,
        "low_protocol": low.protocol,
        "low_protocol_hash": low.protocol_hash,
        "high_protocol": high.protocol,
        "high_protocol_hash": high.protocol_hash,
        "job_uuids": [*low.job_uuids, *high.job_uuids],
    }
    yield from _point(candidate, result, about)


def _point(candidate: CandidateDoc, result: CandidateResult, about: Mapping[str, Any]) -> Iterator[CalibrationPoint]:
    """Yield the point of two values and their protocols; nothing if one of them is missing."""
    if any(value is None for value in about.values()):
        return
    yield CalibrationPoint.model_validate(
        {
            **about,
            "group": f"{candidate.candidate_id}:{result.plan_id}",
            "label": candidate.candidate.label,
            "open_shell_fraction": open_shell_fraction(candidate.candidate),
            "source": f"candidate {candidate.candidate_id}, plan {result.plan_id}",
        }
    )
