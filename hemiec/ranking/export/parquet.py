"""A leaderboard as Parquet: one row per candidate, each column with its unit and description."""

from __future__ import annotations

import io
import json
from typing import Any

from hemiec.errors import InputError
from hemiec.ranking.columns import COLUMNS, Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.plain import uncertainty_values
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry

#: Columns of an entry as they are: name to type and unit.
_OWN = {
    "rank": ("int64", "1"), "candidate_id": ("string", ""), "label": ("string", ""), "formula": ("string", ""),
    "score": ("double", "1"), "pareto_layer": ("int64", "1"), "mobile": ("string", ""),
}  # fmt: skip
_DESCRIPTORS = {
    "mean_B_valence": ("double", "e"), "tolerance_factor": ("double", "1"), "bartel_tau": ("double", "1"),
    "configurational_entropy": ("double", "R per formula unit"), "n_atoms": ("int64", "1"),
    "shortest_image_distance": ("double", "angstrom"), "warren_cowley_rms": ("double", "1"),
    "icet_l1": ("double", "1"), "oxide_reaction": ("string", ""),
}  # fmt: skip
_UNCERTAINTY = {
    "expected_rank": "Mean of its ranks over the draws.",
    "rank_low": "5th percentile of its ranks.",
    "rank_high": "95th percentile of its ranks.",
    "score_low": "5th percentile of its scores, 0 to 1.",
    "score_high": "95th percentile of its scores, 0 to 1.",
    "probability_top": "Share of draws in which it is in the top.",
    "probability_pareto": "Share of draws in which no other candidate is as good in every criterion and better in one.",
}
#: What is written of each property beside its value: suffix to type, whether it has the property's unit, description.
_OF_QUANTITY = {
    "": ("double", True, "{title}; null if there is no value."),
    "_low": ("double", True, "Lower end of its 90 % interval."),
    "_high": ("double", True, "Upper end of its 90 % interval."),
    "_std": ("double", True, "Sample standard deviation."),
    "_n": ("int64", False, "Number of samples behind it."),
    "_min": ("double", True, "Smallest sample."),
    "_max": ("double", True, "Largest sample."),
    "_uncorrected": ("double", True, "Value before the correction towards DFT."),
    "_calibration": ("string", False, "calibration_id of the correction."),
    "_method": ("string", False, "How it was computed."),
    "_reason": ("string", False, "Why there is no value."),
    "_protocol": ("string", False, "Protocol that computed it."),
    "_protocol_hash": ("string", False, "Hash of the protocol's physics."),
}


def to_parquet(doc: LeaderboardDoc) -> bytes:
    """Return the leaderboard as a Parquet file, ranked candidates first.

    Every column has ``unit`` (empty for text) and ``description`` in the metadata of its field; those of the file hold
    the leaderboard's header (definition, sensitivity, versions, snapshot) as JSON under ``hemiec.leaderboard``. What
    is missing is null. Hops, transport and thermodynamics are left out: they are the candidate's.

    Raises
    ------
    InputError
        If the values of one property come in different units.
    """
    import pyarrow as pa
    from pyarrow import parquet

    fields, arrays = [], []

    def add(name: str, kind: Any, unit: str, description: str, values: list[Any]) -> None:
        fields.append(pa.field(name, kind, metadata={"unit": unit, "description": description}))
        arrays.append(pa.array(values, type=kind))

    def add_plain(several: dict[str, tuple[str, str]]) -> None:
        for name, (kind, unit) in several.items():
            described = LeaderboardEntry.model_fields[name].description or ""
            add(name, pa.type_for_alias(kind), unit, described, [getattr(entry, name) for entry in doc.entries])

    add_plain(_OWN)
    for name, described in _UNCERTAINTY.items():
        add(name, pa.float64(), "1", described, [uncertainty_values(entry)[name] for entry in doc.entries])
    for column in COLUMNS:
        unit = _unit(doc, column)
        for suffix, (kind, has_unit, described) in _OF_QUANTITY.items():
            values = [_part(entry, column.property, suffix) for entry in doc.entries]
            its_unit = unit if has_unit else ("1" if suffix == "_n" else "")
            add(
                column.property + suffix,
                pa.type_for_alias(kind),
                its_unit,
                described.format(title=column.title),
                values,
            )
    add_plain(_DESCRIPTORS)
    described = "Criteria that it has no value for."
    add("missing", pa.list_(pa.string()), "", described, [entry.missing for entry in doc.entries])
    doubt = pa.struct([(name, pa.string()) for name in ("code", "property", "text")])
    doubts = [[found.model_dump() for found in entry.doubts] for entry in doc.entries]
    add("doubts", pa.list_(doubt), "", "What a reader should know of its numbers.", doubts)

    header = doc.model_dump(mode="json", exclude={"entries"})
    schema = pa.schema(fields, metadata={"hemiec.leaderboard": json.dumps(header)})
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), out, compression="zstd")
    return out.getvalue()


def _unit(doc: LeaderboardDoc, column: Column) -> str:
    used = {quantity(entry, column.property).unit for entry in doc.entries
            if quantity(entry, column.property).value is not None}  # fmt: skip
    if len(used) > 1:
        raise InputError(
            f"{column.property}: expected one unit for all candidates, got {', '.join(sorted(used))}.",
            mend="build the candidates anew with `hemiec build`, or write JSON, where each number has its own unit",
        )
    return next(iter(used), column.unit)


def _part(entry: LeaderboardEntry, name: str, suffix: str) -> Any:
    found = quantity(entry, name)
    if suffix in ("_low", "_high"):
        return None if found.interval is None else found.interval[suffix == "_high"]
    return found.value if not suffix else getattr(found, suffix[1:])
