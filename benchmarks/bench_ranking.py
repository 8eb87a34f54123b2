"""Ranking at scale, beside pandas, paretoset, pymoo and moocore: a million candidates, fronts of few and of 100,000.

    python benchmarks/bench_ranking.py [--limit 60] [--quick]

Every task and tool has a process of its own with one thread, whose peak memory is measured, data and libraries
included. A tool is called on a hundredth of the data first, so that nothing is compiled while the clock runs; the time
is the best of up to five calls, and the CPU time says what it would be on an idle machine. What takes more CPU time
than the limit or more than 6 GiB is stopped, and the table says so. All tools that finish must give the same answer,
but for the draws: there each has random numbers of its own. Candidates have even random properties, points are spread
evenly, or, where the front is huge, 100,000 of them lie on a sphere with the others behind it. The last line is one
JSON object with wall times; a peer that was stopped has the limit as its number and says so in its name.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import Any

MOST_BYTES, CALLS, ENOUGH_S = 6 * 2**30, 5, 8.0
PEERS = ("paretoset", "pymoo", "moocore")
#: Key, task, its tools beside ours, what it is for people, and the most seconds it may take.
TASKS: tuple[tuple[str, str, tuple[str, ...], str, float | None], ...] = (
    ("what_if_page_s", "what_if page", ("pandas",), "new weights to the first 100 of 1,000,000", 0.2),
    ("what_if_ranks_s", "what_if ranks", ("pandas",), "new weights to the ranks of 1,000,000", 0.2),
    ("front_small_s", "front 3", PEERS, "front of 1,000,000 in 3 criteria", 1.0),
    ("front_huge_s", "front 3 huge", PEERS, "the same, 100,000 on it", 1.0),
    ("front_2_huge_s", "front 2 huge", ("moocore",), "front of 1,000,000 in 2 criteria, 100,000 on it", None),
    ("front_4_s", "front 4", ("moocore",), "front of 1,000,000 in 4 criteria", None),
    ("front_4_huge_s", "front 4 huge", ("moocore",), "the same, 100,000 on it", None),
    ("front_6_s", "front 6", ("moocore",), "front of 1,000,000 in 6 criteria", None),
    ("layers_s", "layers 3", PEERS, "layers of 100,000 in 3 criteria", 0.5),
    ("layers_huge_s", "layers 3 huge", PEERS, "the same, all on the front", 0.5),
    ("layers_2_s", "layers 2", ("moocore",), "layers of 100,000 in 2 criteria", None),
    ("layers_5_s", "layers 5", ("moocore",), "layers of 100,000 in 5 criteria", None),
    ("probabilities_s", "draws", ("pandas+moocore",), "200 draws of 100,000, ranks and fronts of 3 criteria", 5.0),
)
MEMORY_TARGET_MIB = 2048
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def child(task: str, tool: str, limit: int) -> None:
    """Do one task with one tool; print seconds, peak memory and what must agree as JSON."""
    from ranking_tasks import works

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    small, _ = works(task, tool, 0.01)
    small()
    work, same = works(task, tool)
    best, best_cpu, spent = float("inf"), float("inf"), 0.0
    # The default action of this timer's signal ends the process, in compiled code too.
    signal.setitimer(signal.ITIMER_PROF, limit)
    for _ in range(CALLS):
        started, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        signal.setitimer(signal.ITIMER_PROF, 0)
        best, best_cpu, spent = min(best, seconds), min(best_cpu, cpu), spent + seconds
        if spent > ENOUGH_S:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": best, "cpu_s": best_cpu, "MiB": peak, "same": same(result)}))


def measured(task: str, tool: str, limit: int) -> dict[str, Any]:
    """Return what a child measured, or why it was stopped."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", task, tool, "--limit", str(limit)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode == -signal.SIGPROF:
        return {"stopped": f"> {limit} s of CPU time, stopped"}
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    if "MemoryError" in last or "bad_alloc" in last or "Unable to allocate" in last:
        return {"stopped": f"> {MOST_BYTES // 2**30} GiB, stopped"}
    raise SystemExit(f"error: {tool} failed at {task}: {last}")


def text(found: dict[str, Any]) -> str:
    """Return a measurement for people."""
    return found.get("stopped") or f"{found['s']:.3f} s (CPU {found['cpu_s']:.3f} s), {found['MiB']:,.0f} MiB"


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--limit", type=int, default=60, help="seconds of CPU time after which a tool is stopped")
    arguments.add_argument("--quick", action="store_true", help="no peers")
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child:
        child(*chosen.child, chosen.limit)
        return
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    for key, task, others, title, _ in TASKS:
        ours = measured(task, "hemiec", chosen.limit)
        if "stopped" in ours:
            raise SystemExit(f"error: {title}: {ours['stopped']}")
        figures[key] = ours["s"]
        figures["peak_MiB"] = max(figures.get("peak_MiB", 0.0), ours["MiB"])
        print(f"{title}\n  {'hemiec':15s}{text(ours)}", flush=True)
        for peer in () if chosen.quick else others:
            found = measured(task, peer, chosen.limit)
            print(f"  {peer:15s}{text(found)}", flush=True)
            if found.get("same", ours["same"]) != ours["same"]:
                raise SystemExit(f"error: {title}: {peer} finds {found['same']}, hemiec {ours['same']}")
            name = f"{peer} (stopped)" if "stopped" in found else peer
            peers.setdefault(key, {})[name] = round(found.get("s", chosen.limit), 4)
    short = [key for key, _, _, _, target in TASKS if target is not None and figures[key] > target]
    short += ["peak_MiB"] if figures["peak_MiB"] > MEMORY_TARGET_MIB else []
    figures = {key: round(value, 4) for key, value in figures.items()}
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; most memory of ours {figures['peak_MiB']:,.0f} MiB"
    )
    print(json.dumps({"name": "ranking", "figures": figures, "peers": peers, "short": short}))


if __name__ == "__main__":
    main()
