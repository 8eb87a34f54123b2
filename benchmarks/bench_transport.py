"""Ion transport beside its peers: barriers, exact diffusion on networks, and hops that need computing.

    python benchmarks/bench_transport.py             # about half an hour on one core
    python benchmarks/bench_transport.py --quick     # one hop per cell

Each part prints its tables and can be run by itself; the last line is one JSON object of them all.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import transport_barriers
import transport_network
import transport_sampling


def main() -> None:
    """Run all parts and print the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one hop per cell")
    n_hops = 1 if parser.parse_args().quick else 3
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    short: list[str] = []
    for part in (lambda: transport_barriers.rows(n_hops), transport_network.rows, transport_sampling.rows):
        found, others, missed = part()
        figures |= found
        peers |= others
        short += missed
    print(json.dumps({"name": "transport", "figures": figures, "peers": peers, "short": short}))


if __name__ == "__main__":
    main()
