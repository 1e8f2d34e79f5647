"""Compile the kernel side before a wheel, an sdist or an editable install is made of it.

Users need no compiler: the object is the same for every machine and ships in the wheel. The compiler is
that of the `ziglang` wheel, so that everybody builds the same object.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-target", "bpfel-freestanding", "-O2", "-g", "-fno-unwind-tables", "-Wall", "-Werror")


def is_fresh(target: Path, folder: Path) -> bool:
    """Whether the object is at least as new as every source in its folder."""
    if not target.exists():
        return False
    built = target.stat().st_mtime_ns
    return all(
        path.stat().st_mtime_ns <= built for pattern in ("*.c", "*.h") for path in folder.glob(pattern)
    )


def compile_object(folder: Path, *, force: bool = False) -> Path:
    """Compile undergo.bpf.c of `folder` to undergo.bpf.o there, unless that is fresh; the object's path.

    The object is replaced whole, so that a failed or interrupted build leaves the old one. Exits with the
    compiler's messages if it fails.
    """
    source, target = folder / "undergo.bpf.c", folder / "undergo.bpf.o"
    if not force and is_fresh(target, folder):
        return target
    partial = folder / "undergo.bpf.partial.o"
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-c", source.name, "-o", partial.name]
    try:
        # Relative names, so that no path of the building machine gets into the debug information.
        done = subprocess.run([*command, "-ffile-prefix-map=" + str(folder) + "=."], cwd=folder, check=False)
        if done.returncode:
            sys.exit(f"undergo: cannot compile {source} (is the ziglang package installed?)")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


class KernelSideHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for every build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the object is there and fresh."""
        compile_object(Path(self.root) / "src" / "undergo" / "bpf")


if __name__ == "__main__":
    compile_object(Path(__file__).resolve().parent / "src" / "undergo" / "bpf", force="--force" in sys.argv)
