"""What looking at a large recording costs: seconds from the command line to the end, and the most memory it had.

    python bench/analysis.py [CALLS] [ROUNDS]

The recording is made by bench/recordings.py. Each figure is the median of fresh processes, start-up included, files in
the page cache.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

WAYS: dict[str, Sequence[str]] = {
    "report": ("report", "{}"),
    "report --by wait": ("report", "{}", "--by", "wait"),
    "report --by callpath": ("report", "{}", "--by", "callpath"),
    "report --by goroutine": ("report", "{}", "--by", "goroutine"),
    "report --json (with histograms)": ("report", "{}", "--json"),
    "report --slowest 10": ("report", "{}", "--slowest", "10"),
    "report --compare (twice the calls)": ("report", "{}", "--compare", "{}"),
    "graph": ("graph", "{}"),
    "explain": ("explain", "{}"),
    "sql, the tables": ("sql", "{}"),
}
#: What must hold with 10 million calls on 2 cores.
LIMITS = {"report": (1.0, 512), "graph": (1.0, 512)}


def main() -> None:
    """Measures and prints; fails if a limit does not hold."""
    calls = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "bench.undergo"
        # Not in this process: what it held at its largest would count as what its children, made from it, did.
        maker = [sys.executable, str(Path(__file__).with_name("recordings.py")), str(recording), str(calls)]
        subprocess.run(maker, check=True)
        size = sum(path.stat().st_size for path in recording.rglob("*") if path.is_file())
        print(f"{calls:,} calls, {size / calls:.1f} bytes each with all tables; medians of {rounds}")
        for name, arguments in WAYS.items():
            runs = [run([each.format(recording) for each in arguments]) for _ in range(rounds)]
            seconds, memory = (statistics.median(each) for each in zip(*runs, strict=True))
            print(f"{name:36} {seconds:6.2f} s {memory:6.0f} MB")
            most = LIMITS.get(name)
            if most and (seconds > most[0] or memory > most[1]):
                broken.append(f"{name}: more than {most[0]} s or {most[1]} MB")
    if broken:
        sys.exit("\n".join(broken))


def run(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds, and the maximal resident set in MB, of one undergo command."""
    began = time.monotonic()
    line = [sys.executable, "-m", "undergo.cli.main", *arguments]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0, arguments
    return time.monotonic() - began, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
