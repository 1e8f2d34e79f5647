"""Memory that is not resident is waited for, and what is not there at all is said to be."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, undergo
from undergo.kernel.features import has_sleepable


@pytest.mark.parametrize("split", ["--split", "--no-split"])
@pytest.mark.parametrize("go", ["1.19", "1.27"])
def test_pages_that_nobody_has_touched(build: Build, go: str, split: str) -> None:
    if not has_sleepable():
        pytest.skip("this kernel has no sleepable uprobes")
    program = build("resident", go)
    line = undergo("trace", "--json", "--args", split, "-f", "main.untouched", "-f", "main.gone")
    done = subprocess.run(
        [*line, "--", str(program)], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert 0 == done.returncode, done.stderr
    calls = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "call"]
    seen = [[arg["value"] for arg in call["args"]] for call in calls if call["func"] == "main.untouched"]
    assert [[number, f"page {number}"] for number in range(20)] == seen
    (lost,) = (call["args"] for call in calls if call["func"] == "main.gone")
    assert {"missing": "not resident"} == lost[1]["value"]


def test_filters_wait_too(build: Build) -> None:
    if not has_sleepable():
        pytest.skip("this kernel has no sleepable uprobes")
    program = build("resident", "1.27")
    line = undergo("latency", "--json", "-f", "main.untouched", "--filter", 'text == "page 7"')
    done = subprocess.run(
        [*line, "--", str(program)], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert 0 == done.returncode, done.stderr
    (row,) = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "latency"]
    assert 1 == row["calls"]
