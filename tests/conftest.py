"""Fixtures that several test files share: an isolated data folder and candidates by formula."""

from __future__ import annotations

import os

# Before numpy loads its BLAS: on a busy machine two spinning threads make a small GPAW run ten times slower.
# The workers set the same variable.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from fireworks import LaunchPad

from hemiec.composition.candidate import make_candidate
from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
from hemiec.launch.fireworks.queue import FireWorksQueue
from hemiec.schemas.documents import CandidateSpec
from hemiec.settings import Settings, load_settings
from hemiec.store.database import Database, open_database
from hemiec.store.mongod import EmbeddedMongod

Make = Callable[..., CandidateSpec]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder; settings of the user and of the environment are hidden."""
    folder = tmp_path / "hemiec-data"
    folder.mkdir()
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEMIEC_{name.upper()}", raising=False)
    monkeypatch.setenv("HEMIEC_DATA_DIR", str(folder))
    monkeypatch.setenv("HEMIEC_CONFIG_FILE", str(tmp_path / "no-such-settings.yaml"))
    return folder


@pytest.fixture
def settings(data_dir: Path) -> Iterator[Settings]:
    """Settings of an empty data folder; a MongoDB that was started in it is stopped afterwards."""
    settings = load_settings()
    yield settings
    EmbeddedMongod(settings).down()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The embedded MongoDB of an empty data folder."""
    database = open_database(settings)
    yield database
    database.close()


@pytest.fixture
def queue(database: Database) -> Iterator[FireWorksQueue]:
    """The queue on the LaunchPad of that database."""
    queue = FireWorksQueue(database)
    yield queue
    queue.close()


@pytest.fixture
def launchpad(queue: FireWorksQueue) -> LaunchPad:
    """The LaunchPad of that queue."""
    return queue.launchpad


@pytest.fixture(scope="session")
def candidate() -> Make:
    """A function from the species on A and B (and X) to a candidate with the default oxidation states."""

    def make(
        A: Mapping[str, object], B: Mapping[str, object], X: Mapping[str, object] | None = None, **states: object
    ) -> CandidateSpec:
        sites = {"A": A, "B": B} | ({"X": X} if X else {})
        allowed = DEFAULT_OXIDATION_STATES | {s: (q,) if isinstance(q, int) else tuple(q) for s, q in states.items()}  # type: ignore[arg-type]
        return make_candidate(sites, allowed)

    return make
