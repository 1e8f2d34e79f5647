"""Every call is counted once and ends the way it ended, on every Go version and in every way of building."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, run, undergo

PROGRAMS = [
    "recursion",
    "growth",
    "preempt",
    "panics",
    "goexit",
    "namedresults",
    "methods",
    "migrate",
    "manygoroutines",
    "noreturn",
    "frames",
    "reexec",
    "crash",
]
VERSIONS = ["1.19", "1.21", "1.24", "1.27"]
if os.environ.get("UNDERGO_MATRIX") == "all":
    VERSIONS = ["1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27"]
WAYS = {
    "plain": {},
    "stripped": {"stripped": True},
    "pie": {"pie": True},
    "stripped-pie": {"stripped": True, "pie": True},
}
#: What a program is meant to exit with.
STATUS = {"crash": 2}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_trace_agrees_with_the_program(build: Build, program: str, go: str, way: str) -> None:
    """`trace` delivers each call once, with the end that the program counted itself."""
    traced = run("trace", build(program, go, **WAYS[way]))
    assert STATUS.get(program, 0) == traced.status, traced.stderr
    assert traced.truth, traced.stderr
    ends = traced.ends()
    for name, truth in traced.truth.items():
        seen = ends.get(name, Counter())
        assert truth["calls"] == seen.total(), f"{name}: {truth} {seen}"
        assert truth.get("panics", 0) == seen["panic"], f"{name}: {truth} {seen}"
        assert truth.get("goexits", 0) == seen["goexit"], f"{name}: {truth} {seen}"
        assert truth.get("returns", 0) == seen["return"], f"{name}: {truth} {seen}"
    assert_adds_up(traced.ledger)
    assert 0 == traced.ledger["unmatched_exits"]


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("program", ["recursion", "panics", "manygoroutines"])
def test_latency_agrees_with_the_program(build: Build, program: str, go: str) -> None:
    """`latency` counts each call once, and its histogram holds every call that ended."""
    traced = run("latency", build(program, go))
    rows = {row["func"]: row for row in traced.of("latency")}
    assert traced.truth, traced.stderr
    for name, truth in traced.truth.items():
        row = rows[name]
        assert truth["calls"] == row["calls"]
        assert truth.get("panics", 0) == row["panics"]
        assert row["calls"] - row["open"] == sum(count for _, _, count in row["histogram"])
        assert (
            row["wall_ns"]["min"] <= row["wall_ns"]["p50"] <= row["wall_ns"]["p99"] <= row["wall_ns"]["max"]
        )
    assert_adds_up(traced.ledger)


@pytest.mark.parametrize("go", VERSIONS)
def test_wrappers_that_jump_are_counted(build: Build, go: str) -> None:
    """Wrappers of promoted methods end by a jump; named outright, each call of theirs begins and ends once.

    `methods` makes 300 calls through ringers, two thirds of them towers, 300 by a tower's method value, and 300
    through four kinds of counter, of which two are towers and two bells.
    """
    line = [
        "trace",
        "--json",
        "-f",
        "main.(*tower).ring",
        "-f",
        "main.(*tower).count",
        "-f",
        "main.(*bell).count",
    ]
    done = subprocess.run(
        undergo(*line, "--", str(build("methods", go))), capture_output=True, text=True, timeout=LIMIT
    )
    rows = [json.loads(text) for text in done.stdout.splitlines()]
    seen = Counter((row["func"], row["end"]) for row in rows if row["type"] == "call")
    expected = {
        ("main.(*tower).ring", "return"): 500,
        ("main.(*tower).count", "return"): 150,
        ("main.(*bell).count", "return"): 150,
    }
    assert expected == seen
    assert_adds_up(rows[-1])
