"""Where the time went: each bin agrees with what the program itself knows, and the bins add up to the wall time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo
from undergo.goexe.executable import GoExecutable
from undergo.plan.planner import CLOCK_ROLES, make_plan
from undergo.plan.probe_plan import Role

VERSIONS = ["1.19", "1.21", "1.24", "1.27"]
if os.environ.get("UNDERGO_MATRIX") == "all":
    VERSIONS = ["1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27"]
BINS = ("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")
#: Names in the program -> wait reasons; up to Go 1.19 locks say "semacquire", up to 1.23 wait groups do.
REASONS = {
    "mutex": "sync.Mutex.Lock",
    "rlock": "sync.RWMutex.RLock",
    "wlock": "sync.RWMutex.Lock",
    "waitgroup": "sync.WaitGroup.Wait",
}
#: Where the machine's other work can take time from the truth itself, the median of the calls is compared.
BY_MEDIAN = ("running", "descheduled", "running+syscall")


def reason_of(name: str, go: str) -> str:
    """The runtime's string for a wait."""
    minor = int(go.split(".")[1])
    if name in REASONS and minor < (24 if name == "waitgroup" else 20):
        return "semacquire"
    return REASONS.get(name, name)


def spent(call: dict[str, Any], what: str, go: str) -> int:
    """ns of a call in "running", "waiting+runnable", "waits.sleep"."""
    if what.startswith("waits."):
        return int(call["waits"].get(reason_of(what.removeprefix("waits."), go), 0))
    return sum(call[f"{bin}_ns"] for bin in what.split("+"))


def assert_whole(call: dict[str, Any]) -> None:
    """The bins add up to the wall time, the wait reasons to the waiting time, exactly."""
    assert call["wall_ns"] == sum(call[name] for name in BINS), call
    assert call["waiting_ns"] == sum(call["waits"].values()), call
    assert min(call[name] for name in BINS) >= 0, call


def traced(
    program: Path, *options: str, env: dict[str, str] | None = None
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, tuple[int, int]]]]]:
    """The calls as undergo saw them, and what the program knew of their times."""
    line = undergo("trace", "--json", "-f", "main.*", *options, "--", str(program))
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        env=os.environ | (env or {}),
    )
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert_adds_up(lines[-1])
    told = [text for text in done.stderr.splitlines() if text.startswith("TIMES ")]
    return [row for row in lines if row["type"] == "call"], json.loads(told[-1].removeprefix("TIMES "))


def assert_agrees(calls: list[dict[str, Any]], truth: dict[str, Any], go: str) -> None:
    """Each bin of each call lies within 5 % or 200 us of what the program knows, whichever is larger."""
    seen = defaultdict(list)
    for call in sorted(calls, key=lambda call: call["start_ts_ns"]):
        assert_whole(call)
        seen[call["func"]].append(call)
    for name, known in truth.items():
        pairs = defaultdict(list)
        for call, bounds in zip(seen[name][-len(known) :], known, strict=True):
            for what, (low, high) in bounds.items():
                ns = spent(call, what, go)
                tolerance = max(200_000, low // 20)
                off = max(low - tolerance - ns, ns - high - tolerance, 0)
                pairs[what].append((off, ns, low, high))
        for what, rows in pairs.items():
            worst = statistics.median_low(rows) if what in BY_MEDIAN else max(rows)
            assert 0 == worst[0], f"{name}: {what}: seen {worst[1]}, known {worst[2]} to {worst[3]}: {rows}"


@pytest.mark.parametrize("way", ["plain", "stripped-pie"])
@pytest.mark.parametrize("go", VERSIONS)
def test_every_bin_agrees_with_the_program(build: Build, go: str, way: str) -> None:
    """Sleeps, locks, channels, pipes, the network, CPU bursts, shared CPUs, shared Ps."""
    program = build("timesplit", go, stripped=way != "plain", pie=way != "plain")
    calls, truth = traced(program, env={"GODEBUG": "asyncpreemptoff=1"})
    assert_agrees(calls, truth, go)
    assert 12 <= len(truth)


@pytest.mark.parametrize("go", [go for go in VERSIONS if int(go.split(".")[1]) >= 23])
def test_coroutines_are_waited_for(build: Build, go: str) -> None:
    """iter.Pull switches goroutines past the scheduler; none of its switches is missed."""
    calls, truth = traced(build("coroutines", go))
    slow = [call for call in calls if call["func"] == "main.puller" and call["parent"] == calls[-1]["id"]]
    assert_agrees([call for call in slow if call["waiting_ns"] > 5_000_000], truth, go)
    for call in calls:
        assert_whole(call)


@pytest.mark.parametrize("procs", ["", "1"])
@pytest.mark.parametrize("go", VERSIONS)
def test_bins_add_up_under_the_collector(build: Build, go: str, procs: str) -> None:
    """Assists, stopped worlds, locked threads, timers, too few Ps: no call misses a change, all bins add up."""
    program = build("collected", go)
    line = undergo("trace", "--json", "-f", "main.*", "--", str(program))
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=os.environ | ({"GOMAXPROCS": procs} if procs else {}),
    )
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert_adds_up(lines[-1])
    calls = [row for row in lines if row["type"] == "call"]
    for call in calls:
        assert_whole(call)
    collections = [call for call in calls if call["func"] == "main.collect"]
    truth = truth_in(done.stderr)
    assert truth["main.collect"]["calls"] == len(collections)
    assert all(call["waiting_ns"] > 0 for call in collections)
    for call in calls:
        if call["func"] == "main.wait":
            assert set(call["waits"]) <= {"select", "preempted", "GC assist marking", "garbage collection"}


@pytest.mark.parametrize("go", [go for go in VERSIONS if int(go.split(".")[1]) >= 21])
def test_inlined_transitions_are_seen(build: Build, go: str, switching_profile: Path) -> None:
    """Built with a profile, status changes have no function of their own any more."""
    program = build("timesplit", go, pgo=switching_profile)
    with GoExecutable.open(program) as executable:
        plan = make_plan(executable, 0, 0, ["main.main"], roles=CLOCK_ROLES, max_probes=1000)
    inlined = {site.function.name for site in plan.runtime if site.role == Role.INLINED_TRANSITION}
    assert {"runtime.park_m", "runtime.ready", "runtime.execute"} & inlined
    calls, truth = traced(program, env={"GODEBUG": "asyncpreemptoff=1"})
    assert_agrees(calls, truth, go)


@pytest.mark.parametrize("go", VERSIONS)
def test_time_in_c(build: Build, go: str) -> None:
    """C code that sleeps is in a system call, C code that computes is running, Go code that C calls is Go code."""
    calls, truth = traced(build("cgocalls", go, cgo=True))
    assert_agrees(calls, truth, go)
    callers = {call["id"] for call in calls if call["func"] == "main.caller"}
    assert 5 == len(callers)
