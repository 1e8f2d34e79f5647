"""Who called a call is who the runtime says it was, with every function that was inlined on the way."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, undergo

VERSIONS = ["1.19", "1.21", "1.24", "1.25", "1.27"]


def traced(program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = undergo("trace", *options, "--stacks", "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    return done


@pytest.mark.parametrize("way", ["plain", "stripped", "pie"])
@pytest.mark.parametrize("go", VERSIONS)
def test_stacks_are_the_runtimes(build: Build, go: str, way: str) -> None:
    """The runtime leaves goexit out, and frames of its own that wrap methods."""
    program = build("stacks", go, stripped=way == "stripped", pie=way == "pie")
    done = traced(program, "--json", "-f", "main.leaf")
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert_adds_up(found[-1])
    seen = [one["stack"] for one in found if one["type"] == "call"]
    assert len(said) == len(seen) > 10
    expected = Counter(_without_exit(one["stack"]) for one in said)
    assert expected == Counter(map(_without_exit, seen))


def _without_exit(stack: list[str]) -> tuple[str, ...]:
    return tuple(line for line in stack if not line.startswith("runtime.goexit "))


def test_the_tree_shows_what_is_not_above_anyway(build: Build) -> None:
    done = traced(build("stacks", "1.27"), "--color", "never", "-f", "main.leaf", "-f", "main.deep")
    lines = [line[22:].strip() for line in done.stdout.splitlines()]
    at = next(number for number, line in enumerate(lines) if line.startswith("main.leaf()"))
    assert ["from main.main (main.go:68)", "from runtime.main"] == [
        lines[at + 1],
        lines[at + 2].split(" (")[0],
    ]
    inner = [number for number, line in enumerate(lines) if line == "from main.small (main.go:43)"]
    assert "from main.smaller (main.go:45)" == lines[inner[-1] + 1]
    nested = next(n for n in inner if lines[n + 2].startswith("}"))
    assert lines[nested - 1].startswith("main.leaf()")
    assert lines[nested + 2].startswith("} main.deep")
