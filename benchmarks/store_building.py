"""How fast the builder is: finished candidates, unfinished ones, and a million in which nothing has changed.

    python benchmarks/store_building.py --finished 3000 --waiting 10000 --unchanged 1000000

The inputs are what submission and jobs leave in the store (see tests/job_outputs.py), with made-up numbers. Everything
runs in one process on the configured database, which has to be empty. Beside it stands maggma's MapBuilder, which
copies as many documents of a candidate's size and computes nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from job_outputs import STARTED, candidate_plan, made_document, plan_outputs, reference_outputs, submit_made

from hemiec.composition.candidate import specs
from hemiec.composition.space import Space
from hemiec.schemas.campaign import CampaignSpec
from hemiec.settings import load_settings
from hemiec.store.building.builder import update
from hemiec.store.building.changes import find_changes, remember
from hemiec.store.building.feeds import server_time
from hemiec.store.campaigns import write_plans
from hemiec.store.database import Database, open_database
from hemiec.store.layout.indexes import INDEXES

#: At least so many documents (candidates, hops, structures, transport, OPTIMADE entries) a second and core.
TARGET_PER_S = 3_000
NO_OP_TARGET_S = 5.0
_A, _B = ["La", "Y", "Sr", "Ba", "Ca"], ["Ti", "Cr", "Mn", "Fe", "Co", "Ni"]
_SPACE = {
    "name": "bench-build",
    "space": [{"A": {"grid": _A, "step": "1/10"}, "B": {"grid": _B, "step": "1/10"}}],
    "charge": {"unbalanced": "drop"},
}
_BATCH = 1_000
#: Of the candidates in which nothing has changed, so many are different; the others are copies under other names.
_DISTINCT = 50_000
COLLECTIONS = ("candidates", "hops", "transport", "thermodynamics", "structures", "optimade")


def fill(database: Database, n: int, *, outputs: bool) -> None:
    """Write the plans of n candidates of one campaign, and what all their jobs returned if that is wanted."""
    # Its candidates need every reference phase that the others do, but for a few oxides of other valences.
    of_B = [{"A": {"Sr": 1}, "B": {b: 1}} for b in _B]
    of_A = [{"A": {a: 1}, "B": {"Mn": 1}} for a in _A]
    states = {"La": 3, "Y": 3, "Sr": 2, "Ba": 2, "Ca": 2, "Ti": 4, "O": -2} | {b: [2, 3, 4] for b in _B[1:]}
    document = submit_made(database, made_document(space=[*of_B, *of_A[:2]], oxidation_states=states))
    database["plans"].delete_many({})
    template = document["candidates"][0]
    database["outputs"].insert_many(list(reference_outputs(document["references"], STARTED)))
    order = 0
    for batch in _specs(n):
        plans = [candidate_plan(template, spec) for spec in batch]
        write_plans(database, document["name"], enumerate(plans, start=order))
        for k in range(0, len(plans) if outputs else 0, 100):
            made = [o for j, p in enumerate(plans[k : k + 100]) for o in plan_outputs(p, _moment(order + k + j))]
            database["outputs"].insert_many(made)
        order += len(batch)


def figures(
    database: Database, *, finished: int = 3_000, waiting: int = 10_000, unchanged: int = 1_000_000
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return figures, and those of peers by figure; the database is emptied before and after each part.

    Parameters
    ----------
    database
        One that nothing is in; it is dropped after the last part.
    finished
        Candidates with outputs of all their jobs, which are built from nothing.
    waiting
        Candidates none of whose jobs is done; they are built from nothing.
    unchanged
        Candidates, with a plan and an output each, in which nothing has changed; the median of five passes.
    """
    if database["plans"].find_one() or database["candidates"].find_one():
        raise SystemExit(f"database {database.name!r} is not empty; name another with HEMIEC_DATABASE")
    found: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    for name, n in (("finished", finished), ("waiting", waiting)):
        if n:
            fill(database, n, outputs=name == "finished")
            found |= {f"build_{name}_{key}": value for key, value in built_per_s(database).items()}
            if name == "finished":
                peers["build_finished_documents_per_s"] = {"maggma MapBuilder": _map_builder(database)}
            _empty(database)
    if unchanged:
        found["build_unchanged_s"] = _unchanged(database, unchanged)
    return found, peers


def documents_in(database: Database) -> int:
    """Return how many documents the builder has written."""
    return sum(database[name].count_documents({}) for name in COLLECTIONS)


def built_per_s(database: Database) -> dict[str, float]:
    """Return candidates and documents built a second (of the wall, and of this process's core), from nothing."""
    cpu = time.process_time()
    report = update(database)
    cpu = time.process_time() - cpu
    n = documents_in(database)
    return {
        "candidates_per_s": report.built / report.seconds,
        "documents_per_s": n / report.seconds,
        "documents_per_s_and_core": n / cpu,
        "documents_per_candidate": n / report.built,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _unchanged(database: Database, n: int) -> float:
    """Return the time of a pass over n candidates in which nothing has changed, in s; the database is dropped."""
    copies = -(-n // _DISTINCT)
    made = 0
    for batch in _specs(-(-n // copies)):
        documents: dict[str, list[dict[str, Any]]] = {"plans": [], "outputs": [], "candidates": []}
        for spec in batch:
            name, moment = spec["candidate_id"], _moment(made).isoformat()
            jobs = [{"uuid": name[3:], "kind": "sqs", "step": "sqs", "name": "sqs"}]
            about = {"campaign": "large", "order": made, "plan_id": "p", "changed_at": moment}
            documents["plans"].append(about | {"candidate": spec, "jobs": jobs})
            output = {"uuid": name[3:], "index": 1, "completed_at": moment, "output": {"n_atoms": 40}}
            documents["outputs"].append(output)
            documents["candidates"].append({"candidate_id": name, "candidate": spec, "campaigns": ["large"]})
            made += 1
        for collection, several in documents.items():
            database[collection].insert_many(several, ordered=False, bypass_document_validation=True)
    _multiply(database, copies)
    # As if every candidate had been built: what a complete pass remembers.
    remember(database, find_changes(database, server_time(database)))
    reports = [update(database) for _ in range(5)]
    if any(report.built for report in reports):
        raise SystemExit("something was built although nothing had changed")
    database.client.drop_database(database.name)
    database.prepare()
    return sorted(report.seconds for report in reports)[2]


def _multiply(database: Database, copies: int) -> None:
    """Copy every plan, output and candidate under other names, within the server; make the builder's indexes."""
    copied = {"$concat": ["$candidate_id", {"$toString": "$copy"}]}
    uuid = {"$concat": ["$uuid", {"$toString": "$copy"}]}
    job = {"$mergeObjects": ["$$this", {"uuid": {"$concat": ["$$this.uuid", {"$toString": "$copy"}]}}]}
    in_plan = {"$concat": ["$candidate.candidate_id", {"$toString": "$copy"}]}
    changed: dict[str, dict[str, Any]] = {
        "plans": {"candidate.candidate_id": in_plan, "jobs": {"$map": {"input": "$jobs", "in": job}}},
        "outputs": {"uuid": uuid},
        "candidates": {"candidate_id": copied},
    }
    for name, fields in changed.items():
        stages = [
            {"$set": {"copy": list(range(copies))}},
            {"$unwind": "$copy"},
            {"$set": fields},
            {"$unset": ["_id", "copy"]},
            {"$out": f"{name}_copied"},
        ]
        database[name].aggregate(stages, allowDiskUse=True)
        database[name].drop()
        database[f"{name}_copied"].rename(name)
        for index in INDEXES[name]:
            if name != "candidates" or index.fields == ("candidate_id",):
                database[name].create_index(index.keys, **index.options)


def _map_builder(database: Database) -> float:
    """Return how many documents a second maggma's MapBuilder copies."""
    from maggma.builders import MapBuilder
    from maggma.stores import MongoStore

    class Copy(MapBuilder):
        def unary_function(self, item: dict[str, Any]) -> dict[str, Any]:
            return {"copied": item["candidate"], "results": item["results"]}

    shared = {"database": database.name, "uri": database.uri, "key": "candidate_id"}
    source = MongoStore(collection_name="candidates", **shared)
    target = MongoStore(collection_name="copies", **shared)
    copy = Copy(source, target, chunk_size=500)
    n = database["candidates"].count_documents({})
    started = time.monotonic()
    copy.connect()
    items = copy.get_items()
    while chunk := [copy.process_item(item) for item in islice(items, 500)]:
        copy.update_targets(chunk)
    copy.finalize()
    return n / (time.monotonic() - started)


def _empty(database: Database) -> None:
    for name in database.mongo.list_collection_names():
        if name != "layout":
            database[name].delete_many({})


def _moment(order: int) -> Any:
    return STARTED + timedelta(seconds=30 * order)


def _specs(n: int, seed: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Yield the candidates of a large space in batches, n in all."""
    space = Space(CampaignSpec.model_validate(_SPACE), where="bench")
    rng = np.random.default_rng(seed)
    share = min(1.0, (1.5 * n + 2_000) / len(space))
    made = 0
    for rows, columns in space.chunks():
        chosen = np.flatnonzero(rng.random(len(rows)) < share)[: n - made]
        for k in range(0, len(chosen), _BATCH):
            part = chosen[k : k + _BATCH]
            taken = {name: values[part] for name, values in columns.items()}
            yield [spec.to_mongo() for spec in specs(rows.take(part), taken)]
        made += len(chosen)
        if made == n:
            return
    raise ValueError(f"the space holds only {made} candidates; ask for at most that many")


def main() -> None:
    """Run it on the configured database and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=3_000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--unchanged", type=int, default=1_000_000)
    options = vars(parser.parse_args())
    with closing(open_database(load_settings())) as database:
        found, peers = figures(database, **options)
    print(json.dumps({"figures": found, "peers": peers}, indent=2))


if __name__ == "__main__":
    main()
