"""Arguments and results of every shape are what the program says they are."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CACHE, PROGRAMS, Build, go_environment
from tests.live import shapes
from tests.live.tracing import LIMIT, assert_adds_up, undergo

VERSIONS = ["1.19", "1.21", "1.24", "1.25", "1.27"]
OLD = {"1.19", "1.21"}

Call = dict[str, Any]
#: Debug information says the package of the fields of structs without a name, reflection does not.
FIELD = re.compile(r"\bmain\.(f\d+ )")


def compiled(go: str, command: str, pie: bool, experiment: str = "") -> Path:
    """The program of shapes.py, compiled once for every text, Go version and way."""
    old = go in OLD
    folder = CACHE / ("shapes-old" if old else "shapes")
    shapes.write(folder / "shapes", old)
    for name in ("go.mod", "internal/values/values.go"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROGRAMS / name, folder / name)
    digest = hashlib.sha256((folder / "shapes" / "main.go").read_bytes())
    digest.update((folder / "internal/values/values.go").read_bytes())
    target = (
        CACHE / "programs" / f"{digest.hexdigest()[:16]}-{go}{'-pie' if pie else ''}{experiment}" / "shapes"
    )
    if target.exists():
        return target
    environment = go_environment() | {"GOEXPERIMENT": experiment}
    line = [command, "build", *(["-buildmode=pie"] if pie else []), "-o", str(target), "./shapes"]
    subprocess.run(line, cwd=folder, env=environment, check=True, timeout=600)
    return target


def traced(program: Path, *options: str) -> tuple[dict[str, list[Call]], dict[str, list[Call]], list[Call]]:
    """The calls by function, as the program and as undergo said; and undergo's other lines."""
    line = undergo("trace", "--json", "--no-split", "--args", "--results", "-f", "main.*", *options)
    done = subprocess.run(
        [*line, "--", str(program)], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert 0 == done.returncode, done.stderr
    said: dict[str, list[Call]] = defaultdict(list)
    for text in done.stderr.splitlines():
        if text.startswith("VALUES "):
            call = json.loads(text.removeprefix("VALUES "))
            said[call["func"]].append(call)
    seen: dict[str, list[Call]] = defaultdict(list)
    others = []
    for text in done.stdout.splitlines():
        one = json.loads(text)
        if one["type"] == "call":
            seen[one["func"]].append(one)
        else:
            others.append(one)
    return said, seen, others


def wrong(said: dict[str, list[Call]], seen: dict[str, list[Call]], old: bool) -> Iterator[str]:
    """Where the calls of one differ from those of the other."""
    for function, calls in said.items():
        if len(calls) != len(seen[function]):
            yield f"{function}: {len(calls)} calls, seen {len(seen[function])}"
            continue
        for number, (call, own) in enumerate(zip(calls, seen[function], strict=True)):
            for way in ("args", "results"):
                yield from _wrong(call[way], own.get(way), f"{function} call {number} {way}", old)


def empty(value: Any) -> bool:
    """Whether it has no size."""
    match value:
        case ["struct", fields]:
            return all(empty(each) for _, each in fields)
        case ["array", _, items, _]:
            return all(map(empty, items))
    return False


def _wrong(truth: list[Call], seen: list[Call] | None, at: str, old: bool) -> Iterator[str]:
    if seen is None and all(empty(one["value"]) for one in truth):
        return  # a function of one instruction, of which nothing is seen but that it begins
    if old and "results" not in at:  # up to Go 1.21 nothing says that there are parameters called _
        truth = [one for one in truth if one["name"]]
        seen = [one for one in seen or [] if one["name"]]
    if seen is None or [one["name"] for one in truth] != [one["name"] for one in seen]:
        yield f"{at}: {[one['name'] for one in truth]}, seen {seen}"
        return
    for number, (one, own) in enumerate(zip(truth, seen, strict=True)):
        place = f"{at} {number} {one['type']}"
        if one["type"] != FIELD.sub(r"\1", own["type"]):
            yield f"{place}: the type, seen {own['type']}"
        given = shapes.Given(generic="[...]" in at)
        yield from shapes.differences(one["value"], own["value"], given, place)


@pytest.mark.parametrize("pie", [False, True], ids=["plain", "pie"])
@pytest.mark.parametrize("go", VERSIONS)
def test_every_value_of_every_call(go_toolchains: dict[str, str], go: str, pie: bool) -> None:
    """All values of all calls, with their names and types."""
    if go not in go_toolchains:
        pytest.skip(f"no Go {go}")
    said, seen, others = traced(compiled(go, go_toolchains[go], pie))
    assert_adds_up(others[-1])
    assert shapes.FUNCTIONS < len(said)
    assert [] == list(wrong(said, seen, go in OLD))


@pytest.mark.parametrize(("go", "experiment"), [("1.24", "noswissmap"), ("1.27", "mapsplitgroup")])
def test_maps_of_experiments(go_toolchains: dict[str, str], go: str, experiment: str) -> None:
    """The other layouts that maps can have."""
    if go not in go_toolchains:
        pytest.skip(f"no Go {go}")
    said, seen, others = traced(compiled(go, go_toolchains[go], False, experiment))
    assert_adds_up(others[-1])
    assert [] == list(wrong(said, seen, False))


@pytest.mark.parametrize("go", VERSIONS)
def test_a_function_that_is_also_inlined(build: Build, go: str) -> None:
    """Its parameters are described apart from its code, and its results without a name only there."""
    program = build("outofline", go)
    line = undergo("trace", "--json", "--args", "--results", "-f", "main.small", "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    (call,) = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "call"]
    assert [("a", "int8", -5), ("s", "string", "hello")] == [tuple(one.values()) for one in call["args"]]
    assert [("", "int", 0)] == [tuple(one.values()) for one in call["results"]]
