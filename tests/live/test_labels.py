"""The profiler's labels of goroutines, paths that are shown alone, and deadlines of contexts."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, undergo

VERSIONS = ["1.19", "1.21", "1.24", "1.25", "1.27"]
HOUR = 3600 * 10**9


def run(program: Path, command: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    line = undergo(command, "--json", "--no-split", *options, "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    found = [json.loads(text) for text in done.stdout.splitlines()]
    assert_adds_up(found[-1])
    return found, done.stderr


@pytest.mark.parametrize("go", VERSIONS)
def test_labels_are_shown(build: Build, go: str) -> None:
    """Those of the goroutine at the time of the call; none is an empty object."""
    found, _ = run(build("labelled", go), "trace", "-f", "main.plain", "--labels", "--args")
    calls = [one for one in found if one["type"] == "call" and one["args"][0]["value"] < 100]
    seen = Counter(json.dumps(one["labels"], sort_keys=True) for one in calls)
    expected = {
        json.dumps({'"an odd one"': "x y\x1b", "tenant": f"t{n}"}, sort_keys=True): n for n in range(1, 5)
    }
    assert {**expected, "{}": 4} == seen


@pytest.mark.parametrize("go", VERSIONS)
def test_labels_filter_and_group(build: Build, go: str) -> None:
    program = build("labelled", go)
    found, _ = run(program, "trace", "-f", "main.handle", "--label", "tenant=t3", "--show", "r.Number")
    assert [0, 1, 2] == sorted(one["args"][0]["value"] for one in found if one["type"] == "call")
    both = ["--label", "tenant=t3", "--label", "an odd one=x y\x1b", "--filter", "r.Number > 0"]
    found, _ = run(program, "trace", "-f", "main.handle", *both)
    assert 2 == sum(one["type"] == "call" for one in found)
    found, _ = run(program, "trace", "-f", "main.handle", "--filter", 'label("none") != "x"')
    assert 0 == sum(one["type"] == "call" for one in found)
    found, _ = run(program, "latency", "-f", "main.handle", "--by", 'label("tenant")')
    rows = {
        one["by"].get("value", one["by"].get("rest")): one["calls"]
        for one in found
        if one["type"] == "latency"
    }
    assert {"t1": 1, "t2": 2, "t3": 3, "t4": 4, "none": 14} == rows


def test_labels_of_a_stripped_program(build: Build) -> None:
    """They are the goroutine's, so nothing need be known of functions."""
    program = build("labelled", "1.27", stripped=True)
    found, _ = run(program, "trace", "-f", "main.handle", "--labels", "--label", "tenant=t2")
    calls = [one for one in found if one["type"] == "call"]
    assert ["t2"] * 2 == [one["labels"]["tenant"] for one in calls]
    assert all("args" not in one for one in calls)


def test_paths_are_shown_alone(build: Build) -> None:
    """Whole values wherever they are; functions without them show nothing."""
    options = ["--show", "r.Header", "--show", "r.Path", "--show", "n", "--show", "err", "--show", "r0"]
    found, _ = run(build("labelled", "1.27"), "trace", "-f", "main.handle", "-f", "main.plain", *options)
    calls = [one for one in found if one["type"] == "call"]
    handled = [one for one in calls if one["func"] == "main.handle"]
    header = {"entries": [["Accept", ["a", "b"]], ["Host", ["me"]]], "length": 2}
    assert all(["r.Header", "r.Path"] == [arg["name"] for arg in one["args"]] for one in handled)
    assert all(header == one["args"][0]["value"] for one in handled)
    paths = {one["args"][1]["value"]["value"] for one in handled}
    assert {"/labelled", "/plain", "timer", "child", "late", "never", "background"} == paths
    numbers = sorted(one["results"][1]["value"] for one in handled)
    assert [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4] + sorted([100, 101, 102, 103, 104] * 2) == numbers
    assert all(("err", None) == tuple(one["results"][0][key] for key in ("name", "value")) for one in handled)
    plain = [one for one in calls if one["func"] == "main.plain"]
    assert all(one["args"][0]["value"] + 1 == one["results"][0]["value"] for one in plain)


@pytest.mark.parametrize("go", VERSIONS)
def test_deadlines(build: Build, go: str) -> None:
    """A context's own, or that of one around it; on the screen what is left of it when the call begins."""
    program = build("labelled", go)
    found, said = run(program, "trace", "-f", "main.handle", "--show", "ctx", "--show", "r.Number")
    start = int(said.rpartition("START ")[2])
    seen = {one["args"][1]["value"]: one["args"][0]["value"] for one in found if one["type"] == "call"}
    deadlines = {number: seen[number]["deadline_ts_ns"] for number in range(100, 105)}
    minute = 60 * 10**9
    assert {
        100: start + HOUR,
        101: start + HOUR,
        102: start - minute,
        103: None,
        104: None,
    } == deadlines
    line = undergo("trace", "--color", "never", "-f", "main.handle", "--args", "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    shown = done.stdout.splitlines()
    assert any("ctx=(*context.cancelCtx) deadline 59m59." in each for each in shown)
    assert any("ctx=(*context.timerCtx) deadline passed 1m" in each for each in shown)
    assert any("ctx=(*context.cancelCtx), r=" in each for each in shown)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--show", "r.Nope"], "has no field 'Nope'"),
        (["--show", "nope"], "has no parameter or result 'nope'; it has ctx, r, r0, err"),
        (["--show", "r["], "means nothing here"),
        (["--show", "label(tenant)"], "in quotes is expected"),
        (["--label", "tenant"], "KEY=VALUE"),
        (["--label", "=x"], "KEY=VALUE"),
        (["--label", f"{'k' * 65}=x"], "longer than 64"),
        (["--filter", 'label("k") > "x"'], "compared with == and !="),
    ],
)
def test_what_is_wrong_is_told(build: Build, options: list[str], told: str) -> None:
    line = undergo("trace", "-f", "main.handle", *options, "--", str(build("labelled", "1.27")))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 2 == done.returncode
    assert told in done.stderr
    assert "Traceback" not in done.stderr
