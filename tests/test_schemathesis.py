"""Random requests made from the OpenAPI description, valid and not: none is a 5xx, and nothing changes.

``HEMIEC_FUZZ_REQUESTS`` is how many; `make fuzz` sends 10,000.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from stored_candidates import CAMPAIGN
from web_client import API, Client, Served, served_store, wait_for_table

from hemiec.store.snapshots import take_snapshot
from hemiec.web.app import create_app

pytestmark = [pytest.mark.store, pytest.mark.slow]
REQUESTS = int(os.environ.get("HEMIEC_FUZZ_REQUESTS", "300"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
N_ADDRESSES = 25


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_store(tmp_path_factory.mktemp("fuzzed"), 20) as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    take_snapshot(served.database, served.settings)
    client = Client(create_app(served.settings, rate=None))
    wait_for_table(client)
    yield client
    client.close()


@pytest.mark.timeout(7200)
def test_random_requests(client: Client, served: Served) -> None:
    before = served.content()
    schema = schemathesis.openapi.from_dict(client.get(f"{API}/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == N_ADDRESSES
    statuses: Counter[int] = Counter()
    for turn in itertools.count():
        # An address without parameters makes only one request a turn.
        left = REQUESTS - sum(statuses.values())
        if left <= 0:
            break
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                _send(client, served, operation, mode, statuses, n=-(-left // (2 * N_ADDRESSES)), turn=turn)
    print(f"{sum(statuses.values())} requests: {dict(sorted(statuses.items()))}")
    assert max(statuses) < 500
    # All is not refused, nor is all accepted.
    assert statuses[200] > REQUESTS / 10 and statuses[422] > REQUESTS / 10
    assert served.content() == before


def _send(
    client: Client,
    served: Served,
    operation: Any,
    mode: schemathesis.GenerationMode,
    statuses: Counter[int],
    n: int,
    turn: int,
) -> None:
    valid = mode == schemathesis.GenerationMode.POSITIVE
    known = _ids(client, served)

    @seed(turn)
    @settings(
        max_examples=n,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def send(case: schemathesis.Case, real: bool) -> None:
        if valid and real and case.path_parameters:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        sent = requests.Request(**case.as_transport_kwargs(base_url="http://hemiec.test")).prepare()
        answer = client.request(str(sent.method), sent.path_url, headers=dict(sent.headers), content=sent.body)
        statuses[answer.status_code] += 1
        # 414 is not among the refusals that schemathesis knows.
        rejected = [negative_data_rejection] if not valid and answer.status_code != 414 else []
        case.validate_response(answer, checks=[*CHECKS, *rejected])

    try:
        send()
    except Unsatisfiable:
        # An address without parameters has nothing that could be wrong.
        assert not valid


def _ids(client: Client, served: Served) -> dict[str, str]:
    structure = client.get(f"candidates/{served.ids[0]}/structures").json()["documents"][0]
    board = client.get("leaderboards").json()["documents"][0]
    return {
        "candidate_id": served.ids[0],
        "structure_id": structure["structure_id"],
        "leaderboard_id": board["leaderboard_id"],
        "snapshot_id": client.get("snapshots").json()["documents"][0]["snapshot_id"],
        "name": CAMPAIGN,
    }
