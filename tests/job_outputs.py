"""What jobs of a campaign leave in the store, with made-up numbers: plans as submitted, outputs as jobflow has them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from transport_examples import summary

from hemiec.schemas.calculations import CalculationDoc, ElectronicStructure, GapDoc, GapStart
from hemiec.schemas.transport import TransportSummary
from hemiec.store.campaigns import write_header, write_plans
from hemiec.store.database import Database
from hemiec.workflows.campaign import load_campaign

#: Two candidates of which gap, barrier and energies are asked for.
CAMPAIGN: dict[str, Any] = {
    "name": "made",
    "seed": 0,
    "space": [
        {"A": {"La": "1/2", "Sr": "1/2"}, "B": {"Co": 1}},
        {"A": {"Ba": "1/2", "Sr": "1/2"}, "B": {"Ti": 1}},
    ],
    "oxidation_states": {"La": 3, "Sr": 2, "Ba": 2, "Co": [2, 3, 4], "Ti": 4, "O": -2},
    "sqs": {"max_atoms": 40},
    "protocols": {"relax": "mlip-chgnet", "barrier": "mlip-chgnet", "gap": "gpaw-fast"},
    "hops": {"mobile": "O", "n": 8},
    # No more phases than elements and oxides, and their numbers are made up here.
    "competitors": "none",
    "shipped_references": False,
}
VERSIONS = {"hemiec": "0.0.0", "ase": "3.0"}
#: When the first job was done; each candidate's are a minute later.
STARTED = datetime(2026, 1, 1)
_EDGE = 7.8
_N_HOPS_STORED = 4
Output = dict[str, Any]


def made_document(**changes: Any) -> dict[str, Any]:
    """Return what submission would store of a campaign, header and plans."""
    return deepcopy(_document(json.dumps(CAMPAIGN | changes)))


@lru_cache(maxsize=32)
def _document(text: str) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "made.yaml")
        path.write_text(yaml.safe_dump(json.loads(text), sort_keys=False))
        return load_campaign(path).document()


def submit_made(database: Database, document: dict[str, Any]) -> dict[str, Any]:
    """Write a campaign as its submission does, without jobs in a queue, and return it."""
    header = {key: value for key, value in document.items() if key != "candidates"}
    write_header(database, header)
    write_plans(database, header["name"], enumerate(document["candidates"]))
    return document


def finish(database: Database, document: dict[str, Any], *kinds: str, moment: datetime = STARTED) -> None:
    """Write the outputs of all jobs of a campaign, or of some kinds of job."""
    made = [*reference_outputs(document["references"], moment)]
    for order, plan in enumerate(document["candidates"]):
        made += plan_outputs(plan, moment + timedelta(minutes=order))
    put(database, (o for o in made if not kinds or o["metadata"]["hemiec"]["kind"] in kinds))


def put(database: Database, outputs: Iterable[Output]) -> None:
    """Write outputs as jobflow's store does, one in the place of another."""
    for output in outputs:
        key = {"uuid": output["uuid"], "index": output["index"]}
        database["outputs"].replace_one(key, output, upsert=True)


def reference_outputs(records: Iterable[dict[str, Any]], moment: datetime) -> Iterator[Output]:
    """Yield what the jobs of reference phases leave."""
    for record in records:
        energy = -4.0 - _number(record["phase_id"])
        yield _stored(
            record,
            {"energy_per_atom": energy, "energy": 4 * energy, "converged": True, "structure": _cell(["O"] * 4)},
            moment,
        )


def plan_outputs(plan: dict[str, Any], moment: datetime) -> Iterator[Output]:
    """Yield what the jobs of one candidate leave."""
    spec = plan["candidate"]
    number = _number(spec["candidate_id"])
    species = _species(spec, number)
    network = _transport(int(16 * number))
    for record in plan["jobs"]:
        output: Any
        match record["kind"]:
            case "sqs":
                output = _sqs(spec, species)
            case "basin":
                output = _basin(species, number)
            case "network":
                output = {
                    "mobile": "O",
                    "host": _cell(species),
                    "network": network["network"],
                    "tilt": "a-a-c+",
                    "versions": VERSIONS,
                }
            case "sample":
                output = _sample(int(record["step"].split(".")[0].split("-")[1]), number)
            case "transport":
                output = network
            case "gap":
                output = _gap(plan, species, number)
            case _:
                output = {"done": True}
        yield _stored(record, output, moment)


def candidate_plan(template: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of another candidate, with jobs like those of a template."""
    name = spec["candidate_id"]
    about = {"candidate_id": name, "label": spec["label"]}
    jobs = [
        job | about | {"uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, name + job["name"] + job["step"]))}
        for job in template["jobs"]
    ]
    return template | {"candidate": spec, "jobs": jobs}


def _stored(record: dict[str, Any], output: Any, moment: datetime) -> Output:
    return {
        "@module": "jobflow.core.schemas", "@class": "JobStoreDocument", "uuid": record["uuid"], "index": 1,
        "output": output, "completed_at": moment.isoformat(timespec="microseconds"),
        "metadata": {"hemiec": {key: value for key, value in record.items() if key != "name"}},
        "hosts": [record["uuid"]], "name": record["name"],
    }  # fmt: skip


def _number(name: str) -> float:
    """Return a number from 0 to 1 that belongs to a name."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name).int / 2**128


def _species(spec: dict[str, Any], number: float) -> list[str]:
    """Return the species on the 8 A, 8 B and 24 X sites of a cell, as near to the fractions as it goes."""
    found: list[str] = []
    for site, n in (("A", 8), ("B", 8), ("X", 24)):
        fractions = {s: float(Fraction(x)) for s, x in spec["sites"][site].items()}
        bounds = np.cumsum(list(fractions.values()))
        symbols = [list(fractions)[min(int(np.searchsorted(bounds, (k + 0.5) / n)), len(bounds) - 1)] for k in range(n)]
        turn = int(n * number)
        found += symbols[turn:] + symbols[:turn]
    return ["O" if symbol == "vacancy" else symbol for symbol in found]


@cache
def _positions() -> list[list[float]]:
    cells = [np.array([i, j, k]) for i in range(2) for j in range(2) for k in range(2)]
    basis = [[(0.0, 0.0, 0.0)], [(0.5, 0.5, 0.5)], [(0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)]]
    return [((cell + at) / 2).tolist() for sites in basis for at in sites for cell in cells]


def _cell(species: list[str]) -> dict[str, Any]:
    """Return a cubic cell as pymatgen writes it."""
    matrix = [[_EDGE, 0.0, 0.0], [0.0, _EDGE, 0.0], [0.0, 0.0, _EDGE]]
    labels = ["A"] * 8 + ["B"] * 8 + ["X"] * 24
    return {
        "@module": "pymatgen.core.structure", "@class": "Structure", "charge": 0, "properties": {},
        "lattice": {
            "matrix": matrix, "pbc": [True] * 3, **dict.fromkeys("abc", _EDGE),
            **dict.fromkeys(("alpha", "beta", "gamma"), 90.0), "volume": _EDGE**3,
        },
        "sites": [
            {
                "species": [{"element": s, "occu": 1}], "abc": abc, "xyz": [_EDGE * x for x in abc], "label": label,
                "properties": {},
            }
            for s, abc, label in zip(species, _positions(), labels, strict=False)
        ],
    }  # fmt: skip


def _sqs(spec: dict[str, Any], species: list[str]) -> dict[str, Any]:
    cell = _cell(species)
    order = {}
    for site, (low, high) in {"A": (0, 8), "B": (8, 16), "X": (16, 40)}.items():
        amounts = {s: species[low:high].count(s) for s in dict.fromkeys(species[low:high])}
        order[site] = {
            "requested": {s: float(Fraction(x)) for s, x in spec["sites"][site].items()},
            "realised": {s: n / (high - low) for s, n in amounts.items()},
            "amounts": amounts,
            "wc4": 0.1 if len(amounts) > 1 else None,
        }
    return {
        "candidate": spec, "member": 0, "structure": cell, "ideal_structure": cell, "n_atoms": 40,
        "n_formula_units": 8, "supercell": [[2, 0, 0], [0, 2, 0], [0, 0, 2]], "shortest_image_distance": _EDGE,
        "tilt": None, "sublattices": order, "rounding": 0.0, "net_charge": 0.0, "warren_cowley_rms": 0.1,
        "icet_l1": 0.5, "icet_objective": -1.0, "warren_cowley": [], "seed": 0, "origin": "search", "n_runs": 3,
        "truncated": False, "cutoffs": [2.0, 1.5], "notes": [], "versions": VERSIONS,
    }  # fmt: skip


def _basin(species: list[str], number: float) -> dict[str, Any]:
    energy = -7.0 - number
    return {
        "structure": _cell(species), "step": "annealed", "energy_per_atom": energy, "max_force": 0.02,
        "energies_per_atom": {"displaced": energy + 0.01, "annealed": energy}, "tilt": "a-a-c+",
        "space_group": "Pnma", "tilts": {"annealed": "a-a-c+"}, "failed": {}, "n_force_calls": 321,
        "protocol": "mlip-chgnet", "protocol_hash": "p", "versions": VERSIONS,
    }  # fmt: skip


def _sample(sample: int, number: float) -> dict[str, Any]:
    hops = []
    for k in range(_N_HOPS_STORED):
        barrier = 0.4 + 0.3 * number + 0.05 * k
        hops.append(
            {
                "hop": _N_HOPS_STORED * (sample - 1) + k, "forward_barrier": barrier,
                "reverse_barrier": barrier + 0.02, "initial_energy": -280.0, "final_energy": -280.02,
                "reaction_coordinate": [0.0, 1.4, 2.8], "energies": [0.0, barrier, -0.02], "max_force": 0.03,
                "n_force_calls": 60, "elapsed_s": 12.0, "method": "dimer", "attempts": [],
                "images": {"@class": "blob", "blob_uuid": "b"},
            }
        )  # fmt: skip
    failed = [{"hop": 40 + sample, "reason": "the search left the hop", "n_force_calls": 80}]
    return {
        "sites": [], "hops": hops, "failed_sites": [], "failed_hops": failed, "stopped": None,
        "protocol": "mlip-chgnet", "protocol_hash": "p", "versions": VERSIONS,
    }  # fmt: skip


@cache
def _transport(seed: int) -> dict[str, Any]:
    found: TransportSummary = summary(seed)
    return found.to_mongo()


def _gap(plan: dict[str, Any], species: list[str], number: float) -> dict[str, Any]:
    start = next(
        (job["uuid"] for job in plan["jobs"] if job["kind"].startswith("gap") and job["kind"] != "gap"), "none"
    )
    electronic = ElectronicStructure(
        band_gap=2 * number, direct_gap=2 * number, is_metal=False, valence_band_maximum=1.0,
        conduction_band_minimum=1.0 + 2 * number, fermi_level=1.1, total_moment=0.0, site_moments=[0.0] * 40,
        oxygen_2p_center=-2.0, dos_at_fermi_level=0.0, kpoint_mesh=[2, 2, 2], smearing_eV=0.05, spin_polarised=False,
    )  # fmt: skip
    lowest = CalculationDoc(
        kind="gap", structure=_cell(species), n_atoms=40, energy=-280.0, energy_per_atom=-7.0, converged=True,
        electronic=electronic, functional="PBE", cutoff_eV=300.0, n_force_calls=1, elapsed_s=100.0,
        protocol="gpaw-fast", protocol_hash="g", versions=VERSIONS,
    )  # fmt: skip
    starts = [GapStart(magnetic_start=None, energy=-280.0, band_gap=2 * number, total_moment=0.0, job_uuid=start)]
    return GapDoc(band_gap=2 * number, lowest=lowest, starts=starts, spread=None).to_mongo()
