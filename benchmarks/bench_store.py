"""The store at scale: queries, paging, counts and export of a million candidates, beside plain pymongo and maggma.

    python benchmarks/bench_store.py [-n 1000000] [--folder DIR] [--quick]

Everything runs on an embedded MongoDB, with the small cache that it has on a laptop, in a temporary folder; a folder
that is named is kept, and used again if it holds as many candidates already. Documents are those of real compositions
with made-up numbers; the first of every batch is validated, and MongoDB validates all. Queries are drawn at random with
thresholds from the documents, each asked once. A page is its first 100 documents.
The peers answer the same queries: pymongo without our indexes, a maggma store with them. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import store_building
import store_queries
from store_documents import documents

from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod


def fill(database: Database, n: int) -> float:
    """Write n candidates unless they are there; return the seconds that MongoDB took for it."""
    collection = database["candidates"]
    if collection.estimated_document_count() == n:
        return 0.0
    collection.delete_many({})
    seconds, done = 0.0, 0
    for batch in documents(n):
        started = time.perf_counter()
        collection.insert_many(batch, ordered=False)
        seconds += time.perf_counter() - started
        done += len(batch)
        if done % 100_000 < len(batch):
            print(f"{done:,} candidates written", flush=True)
    return seconds


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("-n", type=int, default=1_000_000, help="candidates")
    arguments.add_argument("--folder", type=Path, help="data folder to keep, or to use again")
    arguments.add_argument("--quick", action="store_true", help="a tenth of the queries")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ |= {"HEMIEC_DATA_DIR": str(folder), "HEMIEC_CONFIG_FILE": str(folder / "none.yaml")}
        os.environ.pop("HEMIEC_MONGO_URI", None)
        settings = load_settings()
        database = open_database(settings)
        try:
            seconds = fill(database, chosen.n)
            stats = database.mongo.command("collStats", "candidates")
            print(
                f"{chosen.n:,} candidates of {stats['avgObjSize']:,} bytes: {stats['storageSize'] / 2**20:,.0f} MiB on "
                f"disk and {stats['totalIndexSize'] / 2**20:,.0f} MiB of indexes; "
                f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
                flush=True,
            )
            figures, peers = store_queries.figures(database, quick=chosen.quick)
            figures |= {"n": float(chosen.n), "index_MiB": stats["totalIndexSize"] / 2**20}
            if seconds:
                figures["insert_per_s"] = chosen.n / seconds
            database.close()
            _building(settings, chosen.n, figures, peers)
        finally:
            database.close()
            EmbeddedMongod(settings).down()
    short = [key for key, target in store_queries.TARGETS.items() if figures[key] > target]
    short += [key for key in figures if key.endswith("_per_s_and_core") and figures[key] < store_building.TARGET_PER_S]
    short += ["build_unchanged_s"] if figures["build_unchanged_s"] > store_building.NO_OP_TARGET_S else []
    figures = {key: round(value, 3) for key, value in figures.items()}
    rounded = {key: {peer: round(value, 3) for peer, value in several.items()} for key, several in peers.items()}
    print(json.dumps({"name": "store", "figures": figures, "peers": rounded, "short": short}))


def _building(settings: Settings, n: int, figures: dict[str, float], peers: store_queries.Peers) -> None:
    """Add the builders' figures, from an empty database beside the one that was asked."""
    database = open_database(settings.model_copy(update={"database": "bench-building"}))
    try:
        more, theirs = store_building.figures(database, finished=min(n, 3_000), waiting=min(n, 10_000), unchanged=n)
        database.client.drop_database(database.name)
    finally:
        database.close()
    figures |= more
    peers |= theirs


if __name__ == "__main__":
    main()
