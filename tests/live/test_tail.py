"""--slow keeps whole trees of outermost calls that were slow, failed or panicked, and counts the others as filtered."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, undergo


@pytest.mark.parametrize("go", ["1.19", "1.27"])
def test_trees_that_are_kept(build: Build, go: str) -> None:
    """Every kept tree is whole, has its reason, and none that has one is missing."""
    functions = ("-f", "main.root", "-f", "main.step")
    program = str(build("tail", go))
    line = undergo("trace", "--json", "--args", "--slow", "15ms", *functions, "--", program)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    made: list[dict[str, Any]] = json.loads(done.stderr.partition("TREES ")[2])
    assert_adds_up(lines[-1])
    calls = [one for one in lines if one["type"] == "call"]
    roots = {one["args"][0]["value"]: one for one in calls if one["func"] == "main.root"}
    assert [tree["N"] for tree in made if tree["Kept"]] == sorted(roots)
    for tree in made:
        if not tree["Kept"]:
            continue
        root = roots[tree["N"]]
        assert ("panic" if tree["Panics"] else "return") == root["end"]
        below = [one for one in calls if one["goid"] == root["goid"] and one["id"] != root["id"]]
        assert tree["Calls"] == len(below)
        assert {"main.step"} == {one["func"] for one in below}
    assert lines[-1]["filtered"] == sum(1 + tree["Calls"] for tree in made if not tree["Kept"])
