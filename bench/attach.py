"""How long planning, attaching and detaching take, for one function and for up to 5,000 of one executable.

    python bench/attach.py EXECUTABLE

Medians of five runs each. Last, EXECUTABLE is run with --help, and the time from undergo's command line to the
first event is taken.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from undergo.cli.run import traced
from undergo.cli.targets import Targets, open_targets
from undergo.kernel.session import Session, Wanted
from undergo.plan.planner import make_plan
from undergo.plan.probe_plan import ProbePlan

RUNS = 5
Result = TypeVar("Result")


def main() -> None:
    """Measures and prints."""
    path = sys.argv[1]
    with ExitStack() as stack:
        targets = open_targets(stack, (), path, ())
        names = targets.executables[0].functions.names
        print(f"{path}: {len(names):,} functions")
        everything, plan_ms = timed(
            lambda: make_plan(targets.executables[0], 0, 0, ["*.*"], max_probes=1 << 30)
        )
        print(f"all of them planned, {everything.probes:,} probes: {plan_ms:,.0f} ms")
        print(f"{'functions':>9}  {'probes':>7}  {'load + attach ms':>16}  {'detach ms':>9}")
        for count in (1, 100, 1000, 5000):
            plan = replace(everything, functions=everything.functions[:count])
            rows = [measure(targets, plan) for _ in range(RUNS)]
            attach, detach = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{len(plan.functions):9,}  {plan.probes:7,}  {attach:16.0f}  {detach:9.0f}")
        for pattern in ("main.main", _prefixes(everything, 5000)):
            rows = [first_event(path, pattern) for _ in range(RUNS)]
            functions, seconds = rows[0][0], statistics.median(row[1] for row in rows)
            print(f"from the command line to the first event, {functions:,} functions: {seconds:.2f} s")


def _prefixes(plan: ProbePlan, count: int) -> str:
    """A pattern for main and whole packages that together have at least `count` functions."""
    sizes = Counter(re.split(r"[.(\[]", f.function.name, maxsplit=1)[0] for f in plan.functions)
    chosen = ["main", "runtime/internal"]
    for package, size in sizes.most_common():
        if sum(sizes[name] for name in chosen) >= count:
            break
        if package != "runtime" and size < count:
            chosen.append(package)
    return "/^(" + "|".join(map(re.escape, chosen)) + r")\./"


def first_event(path: str, pattern: str) -> tuple[int, float]:
    """(functions traced, s until the first call was on stdout)."""
    line = [sys.executable, "-m", "undergo.cli.main", "trace", "--json", "--max-probes", "1000000"]
    begin, functions = time.perf_counter(), 0
    with subprocess.Popen(
        [*line, "-f", pattern, "--", path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            row = json.loads(text)
            functions = row.get("functions", functions)
            if row["type"] == "call":
                break
        seconds = time.perf_counter() - begin
        process.stdout.read()
    return functions, seconds


def measure(targets: Targets, plan: ProbePlan) -> tuple[float, float]:
    """(load and attach, detach) in ms."""
    session, attach = timed(lambda: Session(traced(targets, [plan]), Wanted(aggregate=True)))
    _, detach = timed(session.stop)
    session.close()
    return attach, detach


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` gives, and how long it took in ms."""
    begin = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    main()
