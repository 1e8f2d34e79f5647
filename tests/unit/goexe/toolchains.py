"""Go toolchains and programs compiled with them, for the tests of this folder.

`UNDERGO_GO` lists `go` commands, separated by colons; without it, the `go` on PATH is the only one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

PROGRAM = """package main

import (
	"fmt"
	"os"
	"sync"
)

type shape interface{ area() float64 }
type square struct{ side float64 }
type tile struct{ square }

//go:noinline
func (s square) area() float64 { return s.side * s.side }

//go:noinline
func add(a, b int) int { return a + b }

func tiny(a int) int { return a*3 + 1 }

//go:noinline
func each[T any](xs []T, f func(T) T) (out []T) {
	for _, x := range xs {
		out = append(out, f(x))
	}
	return out
}

//go:noinline
func locked(mu *sync.Mutex, n int) (sum int) {
	mu.Lock()
	defer mu.Unlock()
	for i := 0; i < n; i++ {
		sum += tiny(i)
	}
	return sum
}

//go:noinline
func pick(n int) shape {
	if n > 5 {
		return square{1}
	}
	return &tile{square{2}}
}

func main() {
	var mu sync.Mutex
	s := pick(len(os.Args))
	double := func(x int) int { return add(x, x) }
	fmt.Println(add(1, 2), locked(&mu, len(os.Args)), s.area(), each([]int{1, 2}, double))
}
"""
MODES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "stripped": ("-ldflags=-s -w",),
    "pie": ("-buildmode=pie", "-ldflags=-s -w"),
    "external": ("-ldflags=-linkmode=external",),
    "external pie": ("-buildmode=pie", "-ldflags=-linkmode=external -s -w"),
}


def commands() -> list[str]:
    """The `go` commands to test with."""
    listed = os.environ.get("UNDERGO_GO", "")
    found = [command for command in listed.split(":") if command]
    on_path = shutil.which("go")
    return found or ([on_path] if on_path else [])


@cache
def version(go: str) -> str:
    """Its version, "go1.24.11"."""
    return subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()


def build(go: str, folder: Path, mode: str, machine: str = "amd64") -> Path:
    """Compile PROGRAM."""
    (folder / "main.go").write_text(PROGRAM)
    program = folder / "program"
    environment = os.environ | {
        "GOARCH": machine,
        "GO111MODULE": "auto",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
    }
    environment["CGO_ENABLED"] = "1" if "external" in mode else "0"
    subprocess.run(
        [go, "build", "-o", program, *MODES[mode], "main.go"], check=True, env=environment, cwd=folder
    )
    return program


def symbols(go: str, program: Path) -> dict[int, set[str]]:
    """Names of code by address, as `go tool nm` says."""
    text = subprocess.run([go, "tool", "nm", program], capture_output=True, text=True, check=True).stdout
    found: dict[int, set[str]] = {}
    for line in text.splitlines():
        match line.split(None, 2):
            case [address, "T" | "t", name]:
                found.setdefault(int(address, 16), set()).add(name)
    return found
