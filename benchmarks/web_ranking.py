"""Latency and memory of the ranked list of `hemiec serve` with a million candidates, most of them made up in the file.

    python benchmarks/web_ranking.py [-n 1000000] [--requests 40] [--folder DIR]

A store of 20,000 candidates (real compositions, made-up numbers) is filled and read; the file that the server keeps its
table in is then filled with n rows: those of the store again and again, with ids, labels and numbers of their own. The
server is started on it and asked by one client on the same machine, each time for something new, so that no kept answer
helps. Beside the latency of the client stands the processor time of the server, which other work on the machine hardly
lengthens. A folder that is named is kept, and used again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute
from store_documents import documents

from hemiec.schemas.documents import PROPERTIES
from hemiec.settings import load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod
from hemiec.store.queries.tables import read_batches
from hemiec.web.ranking.kept import KeptTable
from hemiec.web.ranking.live import mark_of

BASE = 20_000
#: Longest time that an interaction may take, in ms (95th percentile).
TARGET_MS = 100.0
_ENDS = ("", ".low", ".high", ".min", ".max")
_EXPRESSIONS = (
    "band_gap < {a:.4f} and has(Co)",
    "migration_barrier < {a:.4f} and not has(Ba)",
    "band_gap + band_gap.std < {a:.4f}",
    "tolerance_factor > {b:.4f} and n_species(B) >= 2",
    "fraction(B, Co) > {c:.4f}",
)


def made_up(base: pa.RecordBatch, n: int) -> Iterator[pa.RecordBatch]:
    """Yield n rows in parts as long as the base: its rows with new ids, labels, formulas and numbers."""
    rng = np.random.default_rng(0)
    names = base.schema.names
    labels = base.column(names.index("label")).cast(pa.string()).to_pylist()
    formulas = base.column(names.index("formula")).to_pylist()
    for start in range(0, n, len(base)):
        rows = rng.permutation(len(base))[: n - start]
        columns = {name: base.column(k).take(pa.array(rows)) for k, name in enumerate(names)}
        keys = np.arange(start, start + len(rows))
        columns["candidate_id"] = pa.array([f"hm-{key:016x}" for key in keys])
        columns["formula"] = pa.array([f"{formulas[row]}#{key}" for row, key in zip(rows, keys, strict=True)])
        label = pa.array([f"{labels[row]}#{key}" for row, key in zip(rows, keys, strict=True)])
        columns["label"] = label.dictionary_encode()
        for name in PROPERTIES:
            moved = pa.array(rng.normal(0, 0.02, len(rows)))
            for end in _ENDS:
                columns[f"{name}{end}"] = pyarrow.compute.add(columns[f"{name}{end}"], moved)
        yield pa.record_batch([columns[name] for name in names], schema=base.schema)


def filled(database: Database, kept: KeptTable, n: int) -> dict[str, float]:
    """Fill store and file, unless they are; return what it took."""
    found = kept.open(mark_of(database))
    if found is not None and len(found[0]) == n and database["candidates"].estimated_document_count() == BASE:
        return {"file_mb": kept.path.stat().st_size / 1e6}
    database["candidates"].delete_many({})
    for batch in documents(BASE):
        database["candidates"].insert_many(batch, ordered=False)
    started = time.perf_counter()
    base = pa.Table.from_batches(list(read_batches(database))).combine_chunks().unify_dictionaries().to_batches()[0]
    figures = {"read_store_per_s": BASE / (time.perf_counter() - started)}
    with kept.writing() as mine:
        assert mine
        with kept.replacing(mark_of(database), datetime.now(UTC)) as write:
            for part in made_up(base, n):
                write(part)
    return figures | {"file_mb": kept.path.stat().st_size / 1e6}


class Client:
    """One connection to the server."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)

    def get(self, path: str) -> tuple[int, bytes, float]:
        """Return status, body and latency in ms."""
        started = time.perf_counter()
        self.connection.request("GET", f"/api/v1/{path}")
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, body, (time.perf_counter() - started) * 1000

    def json(self, path: str) -> tuple[Any, float]:
        """Return content and latency in ms of what must work."""
        status, body, took = self.get(path)
        if status != 200:
            raise SystemExit(f"{path}: {status} {body[:300]!r}")
        return json.loads(body), took


def questions(n: int) -> dict[str, Callable[[np.random.Generator], str]]:
    """Return kind to what makes a new question of it."""

    def weights(rng: np.random.Generator) -> str:
        gap, barrier = rng.uniform(0.1, 3, 2)
        return f"weights=band_gap:{gap:.6f},migration_barrier:{barrier:.6f}"

    def where(rng: np.random.Generator) -> str:
        a, b, c = rng.uniform(0.3, 1.5), rng.uniform(0.9, 1.0), rng.uniform(0.1, 0.6)
        return quote(str(rng.choice(_EXPRESSIONS)).format(a=a, b=b, c=c))

    def elements(rng: np.random.Generator) -> str:
        chosen = rng.permutation(["La", "Sr", "Co", "Fe", "Ba", "Ca", "Nd", "Pr", "Ni", "Mn"])
        return f"elements={chosen[0]},{chosen[1]}&without={chosen[2]}"

    return {
        "weights": lambda rng: f"ranking?limit=100&{weights(rng)}",
        "weights_and_elements": lambda rng: f"ranking?limit=100&{weights(rng)}&{elements(rng)}",
        "expression": lambda rng: f"ranking?limit=100&where={where(rng)}",
        "page": lambda rng: f"ranking?limit=100&first={rng.integers(0, n // 2)}",
        "sort": lambda rng: (
            f"ranking?limit=100&sort={rng.choice(PROPERTIES[:4])}&descending={str(rng.random() < 0.5).lower()}"
            f"&first={rng.integers(0, 1000)}"
        ),
        "points": lambda rng: f"ranking/points?{weights(rng)}&limit=2000",
        "brushed_points": lambda rng: f"ranking/points?limit=2000&xmax={rng.uniform(0.5, 2):.5f}",
        "elements": lambda rng: f"ranking/elements?where={where(rng)}",
        "uncertainty": lambda rng: f"ranking/uncertainty?limit=100&{weights(rng)}&draws=200",
    }


def asked(client: Client, process: psutil.Process, n: int, requests: int) -> dict[str, float]:
    """Return median and 95th percentile of each kind of question, and the server's processor time, in ms."""
    figures: dict[str, float] = {}
    for kind, make in questions(n).items():
        rng = np.random.default_rng(1)
        several = max(3, requests // 8) if kind == "uncertainty" else requests
        client.json(make(np.random.default_rng(2)))  # its columns are read from the file
        before = process.cpu_times()
        answers = [client.json(make(rng)) for _ in range(several)]
        after = process.cpu_times()
        cpu = 1000 * (after.user + after.system - before.user - before.system) / several
        took = [ms for _, ms in answers]
        p50, p95 = np.percentile(took, [50, 95])
        server = [content["elapsed_ms"] for content, _ in answers if "elapsed_ms" in content]
        inside = f", {np.median(server):.0f} ms of it inside" if server else ""
        print(f"{kind}: median {p50:.0f} ms{inside}, 95th percentile {p95:.0f} ms; processor {cpu:.0f} ms", flush=True)
        figures |= {f"{kind}_p50_ms": float(p50), f"{kind}_p95_ms": float(p95), f"{kind}_cpu_ms": cpu}
    return figures


@contextmanager
def serving() -> Iterator[tuple[str, psutil.Process, float]]:
    """Yield address and process of a server that has its table, and the seconds it took until the first answer."""
    command = [sys.executable, "-m", "hemiec.cli.main", "serve", "--port", "0", "--rate", "0"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = next(m.group(1) for line in server.stdout if (m := re.search(r"API +(http://[^/\s]+)", line)))
            client = Client(address)
            while client.get("ranking?limit=1")[0] == 503:
                time.sleep(0.05)
            yield address, psutil.Process(server.pid), time.perf_counter() - started
        finally:
            server.terminate()


def served(n: int, requests: int) -> dict[str, float]:
    """Start the server, ask and measure."""
    with serving() as (address, process, first_answer_s):
        client = Client(address)
        content, _ = client.json("ranking?limit=1")
        assert content["table"]["n_candidates"] == n
        figures = {"first_answer_s": first_answer_s, "memory_at_start_mb": process.memory_info().rss / 1e6}
        figures |= asked(client, process, n, requests)
        begun = time.perf_counter()
        status, body, _ = client.get("ranking/export?format=csv&where=" + quote("band_gap < 0.5"))
        assert status == 200
        figures |= {"export_mb_per_s": len(body) / 1e6 / (time.perf_counter() - begun)}
        figures["memory_at_end_mb"] = process.memory_info().rss / 1e6
    return figures


@contextmanager
def store_of(n: int, named: Path | None) -> Iterator[dict[str, float]]:
    """Yield what it took to fill the store and the file while they are open; a folder without a name goes again."""
    folder = named.absolute() if named else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"HEMIEC_DATA_DIR": str(folder), "HEMIEC_CONFIG_FILE": str(folder / "none.yaml")}
    os.environ.pop("HEMIEC_MONGO_URI", None)
    settings = load_settings()
    database = open_database(settings)
    try:
        figures = filled(database, KeptTable(settings), n)
        print(f"{n:,} rows, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        yield figures | {"n": float(n)}
    finally:
        database.close()
        EmbeddedMongod(settings).down()
        if named is None:
            shutil.rmtree(folder, ignore_errors=True)


def arguments(about: str) -> argparse.ArgumentParser:
    """Return what both benchmarks of the page are asked with."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1_000_000, help="candidates")
    parser.add_argument("--requests", type=int, default=40, help="questions of each kind")
    parser.add_argument("--folder", type=Path, help="data folder to keep, or to use again")
    return parser


def main() -> None:
    """Run it."""
    options = arguments(__doc__).parse_args()
    with store_of(options.n, options.folder) as figures:
        figures |= served(options.n, options.requests)
    interactions = [key for key in figures if key.endswith("_p95_ms") and not key.startswith("uncertainty")]
    short = [key for key in interactions if figures[key] > TARGET_MS]
    print(f"memory: {figures['memory_at_start_mb']:.0f} MB at start, {figures['memory_at_end_mb']:.0f} MB in the end")
    rounded = {key: round(value, 2) for key, value in figures.items()}
    print(json.dumps({"name": "web_ranking", "figures": rounded, "peers": {}, "short": short}))


if __name__ == "__main__":
    main()
