"""Running undergo on a ground-truth program, and both their accounts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 120  # s; generous: these machines are noisy


@dataclass(frozen=True, slots=True)
class Traced:
    """What undergo said, and what the program said of itself."""

    status: int
    lines: list[dict[str, Any]]
    truth: dict[str, dict[str, int]]
    stderr: str

    @property
    def ledger(self) -> dict[str, Any]:
        """The last line."""
        assert self.lines[-1]["type"] == "ledger", self.stderr
        return self.lines[-1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one type."""
        return [line for line in self.lines if line["type"] == kind]

    def ends(self) -> dict[str, Counter[str]]:
        """How the calls of each function ended, from `trace`."""
        found: dict[str, Counter[str]] = {}
        for call in self.of("call"):
            found.setdefault(call["func"], Counter())[call["end"]] += 1
        return found


def undergo(*arguments: str) -> list[str]:
    """The command line of undergo."""
    return [sys.executable, "-m", "undergo.cli.main", *arguments]


def run(command: str, program: Path, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> Traced:
    """Traces every function of the program's own package from its first instruction to its end."""
    line = undergo(command, "--json", "-f", "main.*", *options, "--", str(program), *arguments)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    return Traced(
        done.returncode,
        [json.loads(text) for text in done.stdout.splitlines()],
        truth_in(done.stderr),
        done.stderr,
    )


def truth_in(text: str) -> dict[str, dict[str, int]]:
    """The calls of the last TRUTH line of a program's output, {} if there is none."""
    lines = [line for line in text.splitlines() if line.startswith("TRUTH ")]
    return dict(json.loads(lines[-1].removeprefix("TRUTH "))["calls"]) if lines else {}


def assert_adds_up(ledger: dict[str, Any]) -> None:
    """Every hit went somewhere, and nothing was lost."""
    assert {} == ledger["dropped"]
    assert ledger["hits"] == ledger["delivered"] + ledger["aggregated"] + ledger["filtered"]
