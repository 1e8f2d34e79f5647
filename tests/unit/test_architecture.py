"""The way of the data is one way: no package imports from one further down it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "undergo"
#: Each package may import itself and those before it.
WAY = [
    "errors",
    "target",
    "goexe",
    "plan",
    "kernel",
    "events",
    "recording",
    "analysis",
    "views",
    "exports",
    "cli",
]


def _imports(path: Path) -> set[str]:
    """Packages of undergo that a module imports anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "undergo" else [f"undergo.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("undergo.")}
    return found & set(WAY)


@pytest.mark.parametrize("package", WAY[1:])
def test_imports_follow_the_data(package: str) -> None:
    """A package imports only from those before it on the way of the data."""
    allowed = set(WAY[: WAY.index(package) + 1])
    modules = sorted((SOURCE / package).glob("**/*.py"))
    assert modules, package
    wrong = {str(module.relative_to(SOURCE)): _imports(module) - allowed for module in modules}
    assert {} == {module: names for module, names in wrong.items() if names}


def test_only_kernel_talks_to_the_kernel() -> None:
    """No other package loads libbpf or makes bpf(2) calls."""
    speakers = {path.parent.name for path in SOURCE.glob("**/*.py") if {"cffi", "ctypes"} & _outside(path)}
    assert {"kernel"} == speakers


def test_the_plan_is_pure() -> None:
    """plan/ reads no files, runs nothing and asks nobody: the same input gives the same plan."""
    for path in (SOURCE / "plan").glob("*.py"):
        assert not _outside(path) & {"os", "subprocess", "socket", "time", "random", "pathlib"}, path


def _outside(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found
