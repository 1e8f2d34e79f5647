"""Kernels without uprobe_multi or bpf_loop: the same counts by other means."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, truth_in
from undergo.cli.run import traced
from undergo.cli.targets import open_targets
from undergo.events.decode import latencies
from undergo.kernel.session import Session, Wanted
from undergo.plan.capture import Capture, FunctionCapture
from undergo.plan.planner import CLOCK_ROLES, make_plan


@pytest.mark.parametrize(("uprobe_multi", "bpf_loop"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("program", ["panics", "recursion"])
def test_counts_without_newer_features(
    build: Build, program: str, uprobe_multi: bool, bpf_loop: bool
) -> None:
    """Attached one by one, or unwound a few frames at a time, every call is still counted once."""
    path = build(program, "1.24")
    with ExitStack() as stack:
        targets = open_targets(stack, (), str(path), ())
        plans = [make_plan(targets.executables[0], 0, 0, ["main.*"], max_probes=1000)]
        names = {f.id: f.function.name for f in plans[0].functions}
        wanted = Wanted(aggregate=True)
        with Session(traced(targets, plans), wanted, uprobe_multi=uprobe_multi, bpf_loop=bpf_loop) as session:
            done = subprocess.run([path], capture_output=True, text=True, timeout=LIMIT, check=True)
            session.stop()
            rows = {names[row.func]: row for row in latencies(session.latencies(), session.open_frames())}
    truth = truth_in(done.stdout)
    assert truth
    assert {name: row["calls"] for name, row in truth.items()} == {name: rows[name].calls for name in truth}


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_clocks_without_bpf_loop(build: Build, stream: bool, values: bool) -> None:
    """The verifier takes the programs that keep clocks, and those that read values, without bpf_loop too."""
    path = build("recursion", "1.24")
    with ExitStack() as stack:
        targets = open_targets(stack, (), str(path), ())
        plan = make_plan(targets.executables[0], 0, 0, ["main.*"], roles=CLOCK_ROLES, max_probes=1000)
        captures = {f.id: FunctionCapture(Capture((), ()), Capture((), ())) for f in plan.functions}
        wanted = Wanted(
            stream_calls=stream, aggregate=not stream, split=True, captures=captures if values else {}
        )
        with Session(traced(targets, [plan]), wanted, bpf_loop=False) as session:
            done = subprocess.run([path], capture_output=True, text=True, timeout=LIMIT, check=True)
            session.stop()
            counted = sum(int(rows["hits"].sum()) for _, _, rows in session.tallies())
            read, lost = len(session.read_captures()), session.captures_lost()
    truth = truth_in(done.stdout)
    assert counted >= sum(row["calls"] for row in truth.values()) > 0
    assert bool(read) == values
    assert not values or read + lost >= counted
