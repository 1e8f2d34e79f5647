"""Building the programs that are measured."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def built(go: str, name: str, folder: str) -> Path:
    """bench/NAME, compiled into a folder."""
    program = Path(folder) / name
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    source = Path(__file__).parent / name
    subprocess.run([go, "build", "-o", program, "."], cwd=source, env=environment, check=True)
    return program
