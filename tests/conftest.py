"""What every folder of tests may use: Go toolchains, and the programs of tests/programs compiled with them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from tools import toolchains

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
CACHE = ROOT / ".cache"


class Build(Protocol):
    """Compiles a program of tests/programs; the executable's path. It is shared: copy it to change it."""

    def __call__(
        self,
        program: str,
        go: str = "1.24",
        stripped: bool = False,
        pie: bool = False,
        pgo: Path | None = None,
        cgo: bool = False,
    ) -> Path: ...


def _named() -> dict[str, str]:
    """The `go` commands of UNDERGO_GO by minor version ("1.24")."""
    found = {}
    for command in filter(None, os.environ.get("UNDERGO_GO", "").split(":")):
        said = subprocess.run([command, "version"], capture_output=True, text=True, check=True, timeout=60)
        # "go version go1.24.11 linux/amd64"
        found[".".join(said.stdout.split()[2].removeprefix("go").split(".")[:2])] = command
    return found


@pytest.fixture(scope="session")
def go_toolchains() -> dict[str, str]:
    """`go` commands by minor version ("1.19", "1.21", ...): UNDERGO_GO's, and those already installed.

    `make test` sees to 1.19, 1.21, 1.24 and 1.27; `make matrix` to every one from 1.19 on.
    """
    installed = {
        minor: str(toolchains.path_of(version))
        for minor, version in toolchains.ALL.items()
        if toolchains.path_of(version).exists()
    }
    found = installed | _named()
    return {minor: found[minor] for minor in sorted(found, key=lambda minor: int(minor.split(".")[1]))}


@pytest.fixture(scope="session")
def build(go_toolchains: dict[str, str]) -> Build:
    """Compile a program of tests/programs, once for every content, Go version and way."""
    sources = _digest_of_programs()

    def compile_program(
        program: str,
        go: str = "1.24",
        stripped: bool = False,
        pie: bool = False,
        pgo: Path | None = None,
        cgo: bool = False,
    ) -> Path:
        if go not in go_toolchains:
            pytest.skip(f"no Go {go}: python tools/toolchains.py {toolchains.ALL.get(go, go)}")
        command = go_toolchains[go]
        flags = [*(["-ldflags=-s -w"] if stripped else []), *(["-buildmode=pie"] if pie else [])]
        way = [*flags, "cgo"] if cgo else flags
        key = hashlib.sha256("\0".join([sources, _version(command), program, *way]).encode())
        if pgo is not None:
            key.update(pgo.read_bytes())
            flags.append(f"-pgo={pgo.resolve()}")
        # The file keeps the program's name, for that is the name of its process.
        target = CACHE / "programs" / key.hexdigest()[:16] / program
        if not target.exists():
            _compile(command, program, flags, target, cgo)
        return target

    return compile_program


def _digest_of_programs() -> str:
    """One digest of all of tests/programs, for programs may share packages."""
    digest = hashlib.sha256()
    for path in sorted(PROGRAMS.rglob("*")):
        if path.suffix in (".go", ".s", ".h", ".mod", ".pgo") and path.is_file():
            digest.update(f"{path.relative_to(PROGRAMS)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def switching_profile(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CPU profile of switching goroutines; building with it inlines casgstatus into its callers."""
    path = tmp_path_factory.mktemp("profile") / "switching.pgo"
    subprocess.run([build("pingpong", "1.24"), path], check=True, timeout=60)
    return path


@cache
def _version(go: str) -> str:
    """All that `go version` says."""
    return subprocess.run([go, "version"], capture_output=True, text=True, check=True, timeout=60).stdout


def go_environment(cgo: bool = False) -> dict[str, str]:
    """For `go build`: nothing from the network, nothing of the user's own settings."""
    return os.environ | {
        "GO111MODULE": "on",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOWORK": "off",
        "CGO_ENABLED": "1" if cgo else "0",
        "CC": f"{sys.executable} -m ziglang cc",  # it comes with the development environment
        "GOCACHE": str(CACHE / "gocache"),
    }


def _compile(go: str, program: str, flags: list[str], target: Path, cgo: bool) -> None:
    environment = go_environment(cgo)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when whole: other test runs may look for it meanwhile.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / program
        command = [go, "build", *flags, "-o", str(partial), f"./{program}"]
        done = subprocess.run(
            command, cwd=PROGRAMS, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            pytest.fail(f"{' '.join(command)}:\n{done.stderr}", pytrace=False)
        partial.rename(target)
