"""What tracing leaves of an HTTP server's throughput: traced and untraced in turn, in one run.

    python bench/throughput.py GO [ROUNDS]

One server and one load generator (bench/web) share the machine. Of the two handlers one does next to nothing, so
that net/http's own goroutines and system calls are all there is; the other filters, sorts, and answers in
compressed JSON. In each round every way of tracing has its turn; the ratio is that of the medians.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from programs import built

SECONDS, CONNECTIONS = 3, 16
PAGES = {"hello": "/hello?name=gopher", "catalogue": "/catalogue?q=%7B%22Below%22:60%7D"}


def ways(page: str) -> dict[str, Sequence[str]]:
    """What is measured: a name, and undergo's arguments."""
    return {
        "untraced": (),
        "states --summary: every transition of every goroutine": ("states", "--summary"),
        "states: the same, streamed": ("states",),
        "latency of a function never called: clocks nobody asked about": ("latency", "-f", "main.never"),
        "latency of the handler, with its split": ("latency", "-f", f"main.{page}"),
        "latency of the handler, --no-split": ("latency", "--no-split", "-f", f"main.{page}"),
    }


def main() -> None:
    """Measures and prints."""
    go, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        program = built(go, "web", folder)
        # a file of its own: probes are in every process of an executable, wanted or not
        generator = Path(shutil.copy(program, Path(folder) / "load"))
        with subprocess.Popen(
            [program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            assert server.stdin is not None
            url = server.stdout.readline().strip()
            for page, path in PAGES.items():
                compare(
                    server.pid, page, [generator, "load", url + path, str(CONNECTIONS), str(SECONDS)], rounds
                )
            server.stdin.close()


def compare(pid: int, page: str, load: Sequence[str | Path], rounds: int) -> None:
    """Prints the rates of one handler."""
    rate(load)  # warm up
    found: dict[str, list[float]] = {name: [] for name in ways(page)}
    lost: dict[str, int] = dict.fromkeys(found, 0)
    for _ in range(rounds):
        for name, options in ways(page).items():
            each, dropped = traced(pid, options, load)
            found[name].append(each)
            lost[name] += dropped
    base = statistics.median(found["untraced"])
    print(f"{page}: {2e6 / base:.0f} us of CPU a request, client and server")
    print(f"{'requests/s':>10}  {'of untraced':>11}  {'events lost':>11}")
    for name, rates in found.items():
        median = statistics.median(rates)
        print(f"{median:10,.0f}  {median / base:11.1%}  {lost[name]:11,}  {name}", flush=True)


def rate(load: Sequence[str | Path]) -> float:
    """Requests per second."""
    return float(subprocess.run(load, capture_output=True, text=True, check=True).stdout)


def traced(pid: int, options: Sequence[str], load: Sequence[str | Path]) -> tuple[float, int]:
    """The same while undergo is attached, and how many events it lost."""
    if not options:
        return rate(load), 0
    line = [sys.executable, "-m", "undergo.cli.main", *options, "--json", "-p", str(pid)]
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(line, stdout=said) as tracer:
            while not os.fstat(said.fileno()).st_size:
                if tracer.poll() is not None:
                    raise SystemExit("undergo ended")
            result = rate(load)
            tracer.terminate()
        said.seek(0)
        ledger = json.loads(said.readlines()[-1])
    return result, sum(ledger["dropped"].values())


if __name__ == "__main__":
    main()
