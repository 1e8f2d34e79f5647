"""Real executables, compiled with every Go toolchain that is at hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from undergo.goexe.executable import GoExecutable

PROGRAM = """\
package main

import (
	"fmt"
	"net/http"
	"os"
)

//go:noinline
func huge(n int) byte {
	var a [60000]byte
	for i := range a {
		a[i] = byte(n + i)
	}
	if n > 0 {
		return huge(n-1) + a[n]
	}
	return a[n]
}

func small(n int) int { return n + 1 }

func medium(n int) int {
	if n > 3 {
		return small(n) * n
	}
	return n
}

//go:noinline
func leaf(n int) int { return n * 3 }

func generic[T any](v T) string { return fmt.Sprint(v) }

type shop struct{ mux *http.ServeMux }

//go:noinline
func (s *shop) Order(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.URL, len(os.Args)) }

func main() {
	n := len(os.Args)
	keep := medium
	fmt.Println(huge(n), small(n), medium(n), keep(n), leaf(n), generic(n), generic("x"))
	s := &shop{http.NewServeMux()}
	s.mux.HandleFunc("/", s.Order)
	if n > 1 {
		http.ListenAndServe(os.Args[1], s.mux)
	}
}
"""


def toolchains() -> list[str]:
    """Paths of `go`: those in UNDERGO_GO (separated by colons), else Debian's."""
    named = [path for path in os.environ.get("UNDERGO_GO", "").split(":") if path]
    return named or sorted(str(path) for path in Path("/usr/lib").glob("go-*/bin/go"))


Build = Callable[..., Path]


@pytest.fixture(scope="session", params=toolchains() or ["no Go toolchain"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile the program above: build(*flags)."""
    go = request.param
    if not Path(go).exists():
        pytest.skip(go)
    folder = tmp_path_factory.mktemp("program")
    (folder / "main.go").write_text(PROGRAM)
    done: dict[tuple[str, ...], Path] = {}

    def compile(*flags: str) -> Path:
        if flags not in done:
            out = folder / f"program{len(done)}"
            environment = {**os.environ, "GO111MODULE": "auto", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
            command = [go, "build", *flags, "-o", str(out), "main.go"]
            subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
            done[flags] = out
        return done[flags]

    compile.go = go  # type: ignore[attr-defined]
    return compile


@pytest.fixture(scope="session")
def executable(build: Build) -> GoExecutable:
    """The program, compiled plainly."""
    return GoExecutable.open(build())
