"""Candidate documents for the store's benchmarks: real compositions and descriptors, made-up but correlated numbers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hemiec.composition.candidate import specs
from hemiec.composition.space import Space
from hemiec.schemas.campaign import CampaignSpec
from hemiec.schemas.documents import SCHEMA_VERSION, CandidateDoc, CandidateSpec
from hemiec.store.candidates import composition_of

METALS = ("Cr", "Mn", "Fe", "Co", "Ni")
#: Ten million neutral compositions, of which a random sample is taken.
CAMPAIGN = {
    "name": "bench-store",
    "space": [
        {
            "parameters": {"x": {"from": 0, "to": "1/6", "step": "1/24"}, "delta": [0, "1/20", "1/10"]},
            "A": {
                "choose": 5,
                "from": ["La", "Pr", "Nd", "Sm", "Gd", "Y", "Bi", "Sr", "Ba", "Ca", "Na", "K"],
                "total": "5/6",
                "Li": "1/6 - x",
                "vacancy": "x",
            },
            "B": {"grid": [*METALS], "step": "1/10"},
            "oxygen_deficiency": "delta",
        }
    ],
    "charge": {"unbalanced": "drop"},
}
#: eV that each metal adds to the gap, and its share of the barrier.
_GAP = {"Cr": 2.4, "Mn": 1.1, "Fe": 1.6, "Co": 0.6, "Ni": 0.3}
_BARRIER = {"Cr": 0.95, "Mn": 0.72, "Fe": 0.66, "Co": 0.55, "Ni": 0.6}
#: Share of candidates without a gap, without a barrier, and without energies: those that wait or failed.
_WITHOUT = {"band_gap": 0.25, "migration_barrier": 0.1, "formation": 0.03}
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_PROTOCOLS = {"band_gap": "gpaw-fast", "migration_barrier": "mlip-chgnet"}


def documents(n: int, seed: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Yield n different candidates of about 2.9 kB each, as MongoDB stores them, in batches.

    The first of every batch is validated.
    """
    space = Space(CampaignSpec.model_validate(CAMPAIGN), where="bench")
    rng = np.random.default_rng(seed)
    # A fifth of the space cannot be made neutral; a few more are drawn than needed.
    share = min(1.0, (1.3 * n + 200) / len(space))
    made = 0
    for rows, columns in space.chunks():
        # In the order of the space neighbours are alike; what is taken of a chunk is drawn from all of it.
        chosen = rng.permutation(np.flatnonzero(rng.random(len(rows)) < share))[: n - made]
        if not len(chosen):
            continue
        taken = {name: values[chosen] for name, values in columns.items()}
        batch = [_document(spec, rng) for spec in specs(rows.take(chosen), taken)]
        CandidateDoc.model_validate(batch[0])
        yield batch
        made += len(batch)
        if made == n:
            return
    raise ValueError(f"the space holds only {made} candidates; ask for at most that many")


def _document(spec: CandidateSpec, rng: np.random.Generator) -> dict[str, Any]:
    noise = rng.normal(size=4)
    share = {symbol: _number(spec.sites["B"].get(symbol, "0")) for symbol in _GAP}
    t = spec.tolerance_factor or 0.95
    gap = max(0.0, sum(share[s] * _GAP[s] for s in share) - 0.3 + 4 * (0.97 - t) + 0.25 * noise[0])
    barrier = sum(share[s] * _BARRIER[s] for s in share) + 3 * abs(t - 0.97) - 0.5 * spec.oxygen_deficiency
    oxides = -0.12 + 2 * abs(t - 0.96) + 0.05 * noise[2]
    values = {
        "band_gap": gap,
        "migration_barrier": max(0.05, barrier + 0.12 * noise[1]),
        "formation_energy_per_atom": -2.4 - 0.4 * share["Cr"] + oxides + 0.02 * noise[3],
        "formation_enthalpy_from_oxides_per_atom": oxides,
    }
    draw = rng.random(3)
    missing = dict(zip(_WITHOUT, draw, strict=True))
    quantities = {
        name: _quantity(name, float(value), missing[name if name in missing else "formation"], rng)
        for name, value in values.items()
    }
    key = spec.candidate_id
    return {
        "candidate_id": key,
        "schema_version": SCHEMA_VERSION,
        "candidate": spec.to_mongo(),
        **composition_of(spec),
        "campaigns": ["bench-store"] if rng.random() < 0.9 else ["bench-store", "second"],
        **quantities,
        "results": [],
        "input_hash": key[3:] * 4,
        "builder_version": 5,
        "last_updated": _NOW.isoformat().replace("+00:00", "Z"),
    }


def _quantity(name: str, value: float, draw: float, rng: np.random.Generator) -> dict[str, Any]:
    unit = "eV" if name in _PROTOCOLS else "eV/atom"
    missing = draw < _WITHOUT.get(name, _WITHOUT["formation"])
    spread = float(rng.gamma(2.0, 0.04))
    return {
        "value": None if missing else value,
        "unit": unit,
        "method": f"made up for the benchmark of {name}",
        "n": 0 if missing else 8,
        "std": None if missing else spread,
        "min": None if missing else value - 1.5 * spread,
        "max": None if missing else value + 1.5 * spread,
        "interval": None if missing else [value - 0.6 * spread, value + 0.6 * spread],
        "uncorrected": None,
        "calibration": None,
        "reason": "its jobs have not finished" if missing else None,
        "protocol": None if missing else _PROTOCOLS.get(name, "mlip-chgnet"),
        "protocol_hash": None if missing else "efe9e60f00b8",
        "job_uuids": [] if missing else [str(uuid.UUID(bytes=rng.bytes(16)))],
        "reference_job_uuids": [],
    }


def _number(fraction: str) -> float:
    numerator, _, denominator = fraction.partition("/")
    return int(numerator) / int(denominator or 1)
