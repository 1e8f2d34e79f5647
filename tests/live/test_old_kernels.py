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
from undergo.plan.planner import make_plan


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
