"""The commands that only look: list, inspect, doctor, and the plan of --dry-run."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import Build
from tests.unit.cli.test_bad_input import undergo
from undergo.cli.main import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str) -> None:
    """Every command explains itself by example."""
    done = undergo(command, "--help")
    assert 0 == done.returncode
    assert "Examples:" in done.stdout
    assert f"undergo {command}" in done.stdout


def test_list_shows_where_functions_are(build: Build) -> None:
    """A function is listed with its source line and its exits; a stripped binary gives the same."""
    rows = []
    for stripped in (False, True):
        done = undergo(
            "list", "--json", "-e", str(build("frames", "1.27", stripped=stripped)), "-f", "main.many"
        )
        rows += [json.loads(line) for line in done.stdout.splitlines()]
    assert ["main.many"] * 2 == [row["func"] for row in rows]
    assert [True] * 2 == [row["traceable"] for row in rows]
    assert all(row["exits"] >= 1 and row["file"].endswith("frames/main.go") for row in rows)
    assert rows[0]["line"] == rows[1]["line"] > 0


@pytest.mark.parametrize("pie", [False, True])
def test_inspect_tells_what_the_executable_is(build: Build, pie: bool) -> None:
    """Version, module and way of building."""
    done = undergo("inspect", "--json", "-e", str(build("frames", "1.24", stripped=True, pie=pie)))
    facts = json.loads(done.stdout)
    assert facts["program"]["Go"].startswith("go1.24")
    assert "undergo.test/programs" in facts["program"]["module"]
    assert ("PIE" if pie else "static") in facts["program"]["built"]
    assert "stripped" in facts["program"]["built"]
    assert "table" in facts["runtime_layout"]["found by"]


def test_doctor_answers_every_question() -> None:
    """Each check has one of three states, and what is not ok has a remedy."""
    done = undergo("doctor", "--json")
    assert 0 == done.returncode
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"libbpf", "kernel BTF", "ring buffer", "uprobe_multi", "sched_switch"} <= {
        c["name"] for c in checks
    }
    assert all(c["state"] in ("ok", "missing", "unknown") for c in checks)
    assert all(c["remedy"] for c in checks if c["state"] != "ok")


@pytest.mark.parametrize("go", ["1.19", "1.21", "1.24", "1.27"])
def test_dry_run_chooses_emulated_entries(build: Build, go: str) -> None:
    """Entry sites of functions with a stack check are emulated instructions, and the reason is given."""
    done = undergo("trace", "--dry-run", "-e", str(build("recursion", go)), "-f", "main.*")
    assert 0 == done.returncode, done.stderr
    entries = [line for line in done.stdout.splitlines() if line.startswith("  entry")]
    assert len(entries) >= 5
    assert all(re.search(r"\bemulated\b", line) for line in entries)
    assert "nothing was attached" in done.stdout
