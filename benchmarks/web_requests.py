"""Requests per second, latency and memory of `hemiec serve` on the store of the current settings.

    python benchmarks/web_requests.py [--requests 300] [--clients 4]

Server and clients run on the same machine. Each client keeps its connection and sends one request after the other; the
first tenth of each kind is not counted. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import numpy as np
import psutil

CONDITION = quote("band_gap < 1.0 and has(Co) and not has(Ba)")
FIELDS = "label,band_gap,migration_barrier,migration_barrier.std,formation_energy_per_atom"
KINDS = {
    "page of 100 documents": "/api/v1/candidates?limit=100",
    "page of 100 documents, filtered": f"/api/v1/candidates?limit=100&q={CONDITION}&sort=band_gap",
    "page of 100 rows, filtered": f"/api/v1/candidates?limit=100&q={CONDITION}&sort=band_gap&fields={FIELDS}",
    "next page of 100 rows, filtered": (
        f"/api/v1/candidates?limit=100&q={CONDITION}&sort=band_gap&fields={FIELDS}&count=false"
    ),
    "page of 10 rows": f"/api/v1/candidates?limit=10&fields={FIELDS}",
    "one candidate": "/api/v1/candidates/{id}",
    "health": "/api/v1/health",
}


def send(host: str, path: str, n: int) -> list[float]:
    """Return the latency of n requests on one connection, in s; they are compressed as browsers ask for it."""
    connection = http.client.HTTPConnection(host, timeout=60)
    latencies = []
    for _ in range(n):
        started = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
        latencies.append(time.perf_counter() - started)
    connection.close()
    return latencies


def main() -> None:
    """Start a server, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind and client")
    parser.add_argument("--clients", type=int, default=4, help="clients at once")
    options = parser.parse_args()
    command = [sys.executable, "-m", "hemiec.cli.main", "serve", "--port", "0", "--rate", "0"]
    figures: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = next(m.group(1) for line in server.stdout if (m := re.search(r"API +(http\S+)", line)))
            host = urlsplit(address).netloc
            process = psutil.Process(server.pid)
            figures["memory_at_start_mb"] = round(process.memory_info().rss / 1e6)
            connection = http.client.HTTPConnection(host)
            connection.request("GET", "/api/v1/candidates?limit=1")
            first = json.load(connection.getresponse())
            connection.close()
            for clients in (1, options.clients):
                for kind, path in KINDS.items():
                    path = path.format(id=first["documents"][0]["candidate_id"])
                    send(host, path, max(1, options.requests // 10))
                    started = time.perf_counter()
                    with ThreadPoolExecutor(clients) as pool:
                        runs = [pool.submit(send, host, path, options.requests) for _ in range(clients)]
                        latencies = np.concatenate([run.result() for run in runs]) * 1000
                    rate = len(latencies) / (time.perf_counter() - started)
                    p50, p95 = np.percentile(latencies, [50, 95])
                    print(f"{clients} clients, {kind}: {rate:.0f} requests/s, median {p50:.1f} ms, p95 {p95:.1f} ms")
                    key = f"{kind.replace(', ', ' ').replace(' ', '_')}_{clients}_clients"
                    figures |= {f"{key}_per_s": round(rate), f"{key}_p95_ms": round(float(p95), 1)}
            figures["memory_at_end_mb"] = round(process.memory_info().rss / 1e6)
        finally:
            server.terminate()
    print(f"memory: {figures['memory_at_start_mb']} MB at start, {figures['memory_at_end_mb']} MB in the end")
    print(json.dumps({"name": "web", "figures": figures, "peers": {}, "short": []}))


if __name__ == "__main__":
    main()
