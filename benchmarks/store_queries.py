"""Queries on a store of many candidates: ours beside plain pymongo and a maggma store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from maggma.stores import MongoStore
from pymongo import ASCENDING
from store_documents import METALS

from hemiec.errors import StoreError
from hemiec.schemas.documents import PROPERTIES
from hemiec.store.database import Database
from hemiec.store.queries.fields import fields_of
from hemiec.store.queries.language import compile
from hemiec.store.queries.order import flat
from hemiec.store.queries.page import read_page
from hemiec.store.queries.results import Results

PAGE, DEEP = 100, 1_000
TARGETS = {"leaderboard_p95_ms": 50.0, "arbitrary_p95_ms": 250.0, "export_s": 30.0}
#: Orders that arbitrary filters are asked in, in turn.
SORTS = PROPERTIES
#: Documents that thresholds are drawn from.
_SAMPLE = 1_000
_BY_BARRIER = [("migration_barrier.value", ASCENDING), ("candidate_id", ASCENDING)]
Peers = dict[str, dict[str, float]]


class Expressions:
    """Random expressions; their thresholds are values of random candidates, so a term holds for any share of them.

    Parameters
    ----------
    database
        The store.
    seed
        Of the choices.
    """

    def __init__(self, database: Database, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        numbers = {name: field for name, field in fields_of().items() if field.kind == "number"}
        sample = database["candidates"].aggregate([{"$sample": {"size": _SAMPLE}}])
        rows = [flat(document, numbers) for document in sample]
        columns = {name: [row[name] for row in rows if row[name] is not None] for name in numbers}
        #: Name to the values in the sample; a field that is the same everywhere says nothing.
        self.values = {name: values for name, values in columns.items() if len(set(values)) > 1}
        self.elements = [*("La", "Pr", "Nd", "Sm", "Gd", "Y", "Bi", "Sr", "Ba", "Ca", "Na", "K", "Li"), *METALS]

    def leaderboard(self) -> str:
        """Return a filter as for a leaderboard: limits on two or three of the ranked values, and perhaps elements."""
        names = self.rng.choice(PROPERTIES, size=int(self.rng.integers(2, 4)), replace=False)
        terms = [self._limit(str(name), "<=") for name in names]
        terms += [self._element()] if self.rng.random() < 0.5 else []
        return " and ".join(terms)

    def arbitrary(self) -> str:
        """Return one to four terms on any fields and elements, joined by and, three times in four, or by or."""
        terms = [self._term() for _ in range(int(self.rng.integers(1, 5)))]
        text = terms[0]
        for term in terms[1:]:
            text = f"({text}) {'and' if self.rng.random() < 0.75 else 'or'} {term}"
        return text

    def _term(self) -> str:
        kind = self.rng.random()
        if kind < 0.25:
            return self._element()
        if kind < 0.3:
            return f"fraction(B, {self.rng.choice(['Co', 'Fe', 'Mn'])}) >= {int(self.rng.integers(1, 8))}/10"
        if kind < 0.35:
            return f"barrier + barrier.std <= {self._value('migration_barrier')!r}"
        return self._limit(str(self.rng.choice(list(self.values))), str(self.rng.choice(["<=", ">="])))

    def _limit(self, name: str, symbol: str) -> str:
        return f"{name} {symbol} {self._value(name)!r}"

    def _value(self, name: str) -> float:
        return float(self.rng.choice(self.values[name]))

    def _element(self) -> str:
        return f"{'not ' if self.rng.random() < 0.4 else ''}has({self.rng.choice(self.elements)})"


def figures(database: Database, *, quick: bool = False) -> tuple[dict[str, float], Peers]:
    """Return ours and the peers' figures, and print them as tables.

    Parameters
    ----------
    database
        A store of candidates.
    quick
        Whether there are a tenth of the queries.
    """
    expressions = Expressions(database)
    ours: dict[str, float] = {}
    peers: Peers = {}
    store = MongoStore(
        database.name, "candidates", uri=database.uri, key="candidate_id", mongoclient_kwargs=database.client_kwargs
    )
    store.connect()
    try:
        many, few = (30, 2) if quick else (200, 4)
        for name, make in (("leaderboard", expressions.leaderboard), ("arbitrary", expressions.arbitrary)):
            asked = [make() for _ in range(many)]
            orders = [SORTS[k % len(SORTS)] if name == "arbitrary" else "migration_barrier" for k in range(many)]
            times = [_page_ms(database, where, sort) for where, sort in zip(asked, orders, strict=True)]
            _summary(ours, name, times, asked, orders)
            quarter = zip(asked[: many // 4], orders, strict=False)
            with_count = float(np.percentile([_page_ms(database, *each, counted=True) for each in quarter], 95))
            ours[f"{name}_counted_p95_ms"] = with_count
            print(f"  with a count of at most 10,001, p95 of a quarter of them: {with_count:.0f} ms")
            _first_pages(peers, f"{name}_p95_ms", database, store, asked[:few])
        _deep_pages(ours, peers, database, store)
        _counts(ours, peers, database, store)
        _exports(ours, peers, database, store)
    finally:
        store.close()
    return ours, peers


def _summary(ours: dict[str, float], name: str, times: list[float], asked: list[str], orders: list[str]) -> None:
    for label, share in (("median", 50), ("p95", 95), ("max", 100)):
        ours[f"{name}_{label}_ms"] = float(np.percentile(times, share))
    print(f"\n{name}: {len(times)} queries, first page of {PAGE}")
    print("  ".join(f"{key} {value:.0f}" for key, value in ours.items() if key.startswith(name)))
    limit = TARGETS[f"{name}_p95_ms"]
    print(f"  {np.mean(np.array(times) > limit):.1%} take longer than {limit:.0f} ms; the slowest:")
    for k in np.argsort(times)[::-1][:4]:
        print(f"  {times[k]:8.0f} ms  {asked[k]}  (by {orders[k]})", flush=True)


def _first_pages(peers: Peers, key: str, database: Database, store: MongoStore, asked: list[str]) -> None:
    """Ask the peers the same: with their own sort, limit and count, and MongoDB's choice of index."""
    filters = [compile(text) for text in asked]
    collection = database["candidates"]

    def plain(matches: dict[str, Any]) -> None:
        # Without our indexes: what a collection has by itself is an index of _id.
        list(collection.find(matches).sort(_BY_BARRIER).limit(PAGE).hint([("$natural", 1)]))
        collection.count_documents(matches, hint=[("$natural", 1)])

    def maggma(matches: dict[str, Any]) -> None:
        list(store.query(matches, sort=dict(_BY_BARRIER), limit=PAGE))
        store.count(matches)

    peers[key] = {
        "plain pymongo, index of _id": max(_ms(partial(plain, matches)) for matches in filters),
        "maggma MongoStore, our indexes": max(_ms(partial(maggma, matches)) for matches in filters),
    }
    print("  the slowest of the first", len(asked), "by", _said(peers[key], "ms"))


def _deep_pages(ours: dict[str, float], peers: Peers, database: Database, store: MongoStore) -> None:
    times: list[float] = []
    after: str | None = None
    for _ in range(DEEP):
        started = time.perf_counter()
        page = read_page(database, where="band_gap < 3", limit=PAGE, after=after, counted=False)
        times.append((time.perf_counter() - started) * 1e3)
        after = page.next
        if after is None:
            break
    ours |= {"page_1_ms": float(np.median(times[:10])), f"page_{len(times)}_ms": float(np.median(times[-10:]))}
    matches, skip = compile("band_gap < 3"), (len(times) - 1) * PAGE
    key = f"page_{len(times)}_ms"
    collection = database["candidates"]
    peers[key] = {
        "plain pymongo, skip": _ms(
            lambda: list(collection.find(matches).sort(_BY_BARRIER).skip(skip).limit(PAGE).hint([("$natural", 1)]))
        ),
        "maggma MongoStore, skip": _ms(
            lambda: list(store.query(matches, sort=dict(_BY_BARRIER), skip=skip, limit=PAGE))
        ),
    }
    shown = f"the first {ours['page_1_ms']:.1f} ms, number {len(times)} {ours[key]:.1f} ms"
    print(f"\npages of {PAGE}: {shown}; the latter by", _said(peers[key], "ms"))


def _counts(ours: dict[str, float], peers: Peers, database: Database, store: MongoStore) -> None:
    where = "band_gap < 3"
    key = "count_capped_ms"
    ours[key] = _ms(lambda: read_page(database, where=where, limit=1))
    peers[key] = {
        "plain pymongo, exact": _ms(lambda: database["candidates"].count_documents(compile(where))),
        "maggma MongoStore, exact": _ms(lambda: store.count(compile(where))),
    }
    print(f"\ncount of {where}, at most 10,001: {ours[key]:.0f} ms;", _said(peers[key], "ms"))


def _exports(ours: dict[str, float], peers: Peers, database: Database, store: MongoStore) -> None:
    """Write every number of every candidate into a Parquet file; the peers by a list of documents of each batch."""
    names = [name for name, field in fields_of().items() if field.kind == "number"]
    paths = [fields_of()[name].path for name in names]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.parquet"
        ours["export_s"] = _ms(lambda: Results(database).query(fields=names).to_parquet(path)) / 1e3
        rows, size = pq.read_metadata(path).num_rows, path.stat().st_size / 2**20
        found = database["candidates"].find({}, {"_id": 0, **dict.fromkeys(paths, 1)})
        plain = _ms(lambda: _naive(found, paths, Path(folder) / "plain.parquet")) / 1e3
        through = store.query({}, properties=paths)
        maggma = _ms(lambda: _naive(through, paths, Path(folder) / "maggma.parquet")) / 1e3
    peers["export_s"] = {"plain pymongo and pyarrow": plain, "maggma MongoStore and pyarrow": maggma}
    print(
        f"\n{len(names)} columns of {rows:,} candidates to Parquet ({size:.0f} MiB): {ours['export_s']:.1f} s;", end=" "
    )
    print(_said(peers["export_s"], "s"), flush=True)


def _naive(documents: Iterable[dict[str, Any]], paths: list[str], path: Path) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in paths}
    for document in documents:
        for name, values in columns.items():
            value: Any = document
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            values.append(value)
    table = pa.table({name: pa.array(values, pa.float64()) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd")


def _page_ms(database: Database, where: str, sort: str, *, counted: bool = False) -> float:
    """Return how long a page takes; one that runs out of time took that long."""

    def ask() -> None:
        with suppress(StoreError):
            read_page(database, where=where, sort=sort, counted=counted)

    return _ms(ask)


def _ms(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _said(times: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:,.1f} {unit}" for name, value in times.items())
