"""What a captured argument costs beside a bare call: ns per call of a function that does nothing.

    python bench/values.py GO [ROUNDS]

All ways take turns in each round; medians. A call that is shown has an entry and a return probe, and the return is
single-stepped: what values add is the difference between the lines.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from programs import built

TRACE = ("trace", "--no-split", "--json", "-f", "main.greet")
LATENCY = ("latency", "--no-split", "--json", "-f", "main.greet")
WAYS: dict[str, Sequence[str]] = {
    "untraced": (),
    "latency: entry and return": LATENCY,
    "latency --filter: an int, refused at the entry": (*LATENCY, "--filter", "n < 0"),
    "latency --filter: a string, refused at the entry": (*LATENCY, "--filter", 'name == "nobody"'),
    "latency --by: a row per string": (*LATENCY, "--by", "name"),
    "trace: a record per call": TRACE,
    "trace --args: with a string and an int": (*TRACE, "--args"),
    "trace --args --results": (*TRACE, "--args", "--results"),
}


def main() -> None:
    """Measures and prints."""
    go, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        program = built(go, "calls", folder)
        found: dict[str, list[int]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, options in WAYS.items():
                found[name].append(once(options, program))
    print(f"{'ns a call':>9}")
    for name, values in found.items():
        print(f"{statistics.median(values):9,.0f}  {name}")


def once(options: Sequence[str], program: Path) -> int:
    """What the program says of itself."""
    line = [sys.executable, "-m", "undergo.cli.main", *options, "--", program] if options else [program]
    with tempfile.TemporaryFile() as out:
        done = subprocess.run(line, stdout=out, stderr=subprocess.PIPE, text=True, check=True)
    return int(done.stderr.partition("NS ")[2].split()[0])


if __name__ == "__main__":
    main()
