"""Goroutine states: the stream is the runtime's own, births and deaths are right, and a summary adds up."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROGRAMS, Build
from tests.live.test_split import VERSIONS
from tests.live.tracing import LIMIT, assert_adds_up, undergo

Totals = dict[int, dict[str, int]]
SOURCE = (PROGRAMS / "lifecycle" / "main.go").read_text().splitlines()
GO_STATEMENT = 1 + next(number for number, text in enumerate(SOURCE) if "go worker(" in text)


def states(program: Path, *options: str, arguments: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], str]:
    """The lines of `undergo states`, and what the program said."""
    line = undergo("states", "--json", *options, "--", str(program), *arguments)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert_adds_up(lines[-1])
    return lines, done.stderr


def changes(lines: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The changes of each goroutine, in order."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["type"] == "state":
            found[line["goid"]].append(line)
    return found


@pytest.mark.parametrize("way", ["plain", "stripped-pie"])
@pytest.mark.parametrize("go", VERSIONS)
def test_births_deaths_and_wakers(build: Build, go: str, way: str) -> None:
    """Every goroutine has its own goid, parent, waker, go statement and lifetime, though its g was used before."""
    program = build("lifecycle", go, stripped=way != "plain", pie=way != "plain")
    lines, said = states(program)
    lives = json.loads(said.partition("LIVES ")[2])
    assert 20 == len({life["Goid"] for life in lives})
    seen = changes(lines)
    for life in lives:
        first, *_, last = own = seen[life["Goid"]]
        assert ("dead", "runnable", life["Parent"]) == (first["from"], first["to"], first["parent_goid"])
        assert "main.spawner" == first["statement"]["func"]
        assert first["statement"]["file"].endswith("lifecycle/main.go")
        assert GO_STATEMENT == first["statement"]["line"]
        # a go statement with arguments starts a wrapper; before 1.17 or so there was none
        assert first["start"]["func"] in ("main.worker", "main.spawner.func1", "main.spawner.gowrap1")
        assert "dead" == last["to"]
        assert last["lifetime_ns"] == last["ts_ns"] - first["ts_ns"] >= life["Lived"]
        woken = [row for row in own if (row["from"], row["reason"]) == ("waiting", "chan receive")]
        assert [life["Waker"]] == [row["waker_goid"] for row in woken]
        slept = [row for row in own if (row["from"], row["reason"]) == ("waiting", "sleep")]
        assert [None] == [row["waker_goid"] for row in slept]
        assert all(row["spent_ns"] >= 1_000_000 for row in slept)
        for before, after in pairwise(own):
            assert before["to"] == after["from"]
            assert after["ts_ns"] - before["ts_ns"] == after["spent_ns"]


TRANSITION = re.compile(r"StateTransition Time=(\d+) .*GoID=(\d+) .*?(\w+)->(\w+)")


def told_by_the_runtime(go: str, trace: Path) -> Totals:
    """ns by goroutine and state, of those that began and ended while runtime/trace was on.

    `go` is the newest toolchain: it reads the traces of all versions from 1.22 on.
    """
    line = [go, "tool", "trace", "-d=parsed", str(trace)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, check=True)
    since: dict[int, tuple[int, str]] = {}
    totals: Totals = {}
    ended = set()
    for text in done.stdout.splitlines():
        match = TRANSITION.search(text)
        if not match:
            continue
        time, goid, before, after = int(match[1]), int(match[2]), match[3].lower(), match[4].lower()
        if before == "notexist":
            totals[goid] = defaultdict(int)
        elif goid in totals:
            assert before == since[goid][1], text
            totals[goid][before] += time - since[goid][0]
        if after == "notexist":
            ended.add(goid)
        since[goid] = (time, after)
    return {goid: times for goid, times in totals.items() if goid in ended}


@pytest.mark.parametrize("go", [go for go in VERSIONS if int(go.split(".")[1]) >= 22])
def test_the_runtime_s_own_trace_agrees(
    build: Build, go: str, go_toolchains: dict[str, str], tmp_path: Path
) -> None:
    """Per goroutine the totals by state are those of runtime/trace, within 2 % (or 200 us).

    The runtime first changes a status, then notes it. Where the kernel takes the thread away between the two,
    the two clocks differ by as long as that takes, and neither is wrong: hence a second and a third try.
    """
    for attempt in range(3):
        program, trace = build("selftraced", go), tmp_path / f"trace{attempt}"
        lines, _ = states(program, arguments=(str(trace),))
        runtime = told_by_the_runtime(list(go_toolchains.values())[-1], trace)
        assert len(runtime) >= 10
        apart = differences(changes(lines), runtime)
        if not apart:
            return
    assert [] == apart


def differences(
    seen: dict[int, list[dict[str, Any]]], runtime: Totals
) -> list[tuple[int, str, dict[str, int], dict[str, int]]]:
    """Where our totals are not the runtime's: goid, state, ours and theirs in ns."""
    apart = []
    for goid, known in runtime.items():
        ours: dict[str, int] = defaultdict(int)
        for row in seen[goid][1:]:
            ours[row["from"]] += row["spent_ns"]
        for state in ("runnable", "running", "syscall", "waiting"):
            if abs(ours[state] - known[state]) > max(200_000, known[state] // 50):
                apart.append((goid, state, dict(ours), dict(known)))
    return apart


@pytest.mark.parametrize("go", ["1.19", "1.27"])
def test_the_summary_adds_up(build: Build, go: str) -> None:
    """Waits by reason add up to all waits, births and deaths are counted, and the longest are named."""
    lines, said = states(build("lifecycle", go), "--summary")
    rows = {(row["state"], row["reason"]): row for row in lines if row["type"] == "state_summary"}
    waits = [row for (state, reason), row in rows.items() if reason]
    whole = rows["waiting", None]
    assert whole["count"] == sum(row["count"] for row in waits)
    assert whole["total_ns"] == sum(row["total_ns"] for row in waits)
    lives = json.loads(said.partition("LIVES ")[2])
    assert {"sleep", "chan receive"} <= {row["reason"] for row in waits}
    # each worker sleeps once, each spawner ten times, and main at no time
    assert 20 + 40 == rows["waiting", "sleep"]["count"]
    (counted,) = [row for row in lines if row["type"] == "goroutines"]
    assert counted["died"] >= len(lives) + 4
    assert counted["born"] >= counted["died"]
    for state in ("runnable", "running", "waiting"):
        longest = rows[state, None]["longest"]
        assert longest == sorted(longest, key=lambda one: -one["ns"])
        assert longest[0]["ns"] >= rows[state, None]["max_ns"]


@pytest.mark.parametrize("go", ["1.21"])
def test_filters(build: Build, go: str) -> None:
    """--state, --reason and --goid leave only what was asked for, and count the rest as filtered."""
    program = build("lifecycle", go)
    lines, _ = states(program, "--state", "waiting")
    rows = [row for row in lines if row["type"] == "state"]
    assert rows
    assert all("waiting" in (row["from"], row["to"]) for row in rows)
    lines, _ = states(program, "--reason", "sleep")
    rows = [row for row in lines if row["type"] == "state"]
    assert {"sleep"} == {row["reason"] for row in rows}
    lines, _ = states(program, "--goid", "1")
    rows = [row for row in lines if row["type"] == "state"]
    assert 1 in {row["goid"] for row in rows}
    assert all(1 in (row["goid"], row.get("parent_goid")) for row in rows)
    assert lines[-1]["filtered"] > 0


def test_an_unknown_reason_names_those_there_are(build: Build) -> None:
    """One clear line, and the exit code of a wrong option."""
    line = undergo("states", "--reason", "coffee", "--", str(build("lifecycle", "1.21")))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert 2 == done.returncode
    assert "no wait reason 'coffee'" in done.stderr
    assert "chan receive" in done.stderr
