"""Debian's Prometheus for the tests, in .cache/prometheus; nothing is installed.

    python tools/prometheus.py

Without apt, or without a network, there is a note and the tests that want it are skipped. What is there already
is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
BINARY = CACHE / "prometheus" / "usr" / "bin" / "prometheus"


def fetch() -> bool:
    """Whether it is there in the end."""
    if BINARY.exists():
        return True
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return False
    CACHE.mkdir(exist_ok=True)
    # On the same file system, so that the rename is one step.
    with tempfile.TemporaryDirectory(prefix="prometheus.", dir=CACHE) as scratch:
        folder = Path(scratch)
        # apt drops its rights to a user who may not enter a temporary folder, and says so at length
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", "prometheus"]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return False
        package = next(folder.glob("*.deb"))
        if subprocess.run(
            ["dpkg", "-x", package, folder / "all"], capture_output=True, check=False
        ).returncode:
            return False
        shutil.rmtree(CACHE / "prometheus", ignore_errors=True)
        (folder / "all").rename(CACHE / "prometheus")
    return BINARY.exists()


if __name__ == "__main__":
    if shutil.which("prometheus") is None and not fetch():
        print("note: no Prometheus from apt; the tests with a real one are skipped", file=sys.stderr)
