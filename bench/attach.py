"""How long planning, attaching and detaching take, for one function and for up to 5,000 of one executable.

    python bench/attach.py EXECUTABLE

Medians of five runs each; nothing is executed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from undergo.cli.run import traced
from undergo.cli.targets import Targets, open_targets, plan_all
from undergo.kernel.session import Session, Wanted
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
        everything, plan_ms = timed(lambda: plan_all(targets, ["*.*"], 1 << 30)[0])
        print(f"all of them planned, {everything.probes:,} probes: {plan_ms:,.0f} ms")
        print(f"{'functions':>9}  {'probes':>7}  {'load + attach ms':>16}  {'detach ms':>9}")
        for count in (1, 100, 1000, 5000):
            plan = replace(everything, functions=everything.functions[:count])
            rows = [measure(targets, plan) for _ in range(RUNS)]
            attach, detach = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{len(plan.functions):9,}  {plan.probes:7,}  {attach:16.0f}  {detach:9.0f}")


def measure(targets: Targets, plan: ProbePlan) -> tuple[float, float]:
    """(load and attach, detach) in ms."""
    session, attach = timed(lambda: Session(traced(targets.executables, [plan]), Wanted(aggregate=True)))
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
