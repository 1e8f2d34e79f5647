"""--filter takes exactly the calls of which it is true, and errors have their messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, undergo

VERSIONS = ["1.19", "1.21", "1.24", "1.27"]
if os.environ.get("UNDERGO_MATRIX") == "all":
    VERSIONS = ["1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27"]

Call = dict[str, Any]
HANDLE: dict[str, Callable[[Call], bool]] = {
    "n > 10": lambda c: c["N"] > 10,
    "n <= -3 || n == 0x10": lambda c: c["N"] <= -3 or c["N"] == 16,
    'n >= 10 && name == "bob"': lambda c: c["N"] >= 10 and c["Name"] == "bob",
    'name != "bob"': lambda c: c["Name"] != "bob",
    'name == ""': lambda c: c["Name"] == "",
    'hasPrefix(name, "bob")': lambda c: c["Name"].startswith("bob"),
    '!hasPrefix(name, "a")': lambda c: not c["Name"].startswith("a"),
    "len(name) > 64": lambda c: len(c["Name"]) > 64,
    "u >= 200": lambda c: c["U"] >= 200,
    "i < -100": lambda c: c["I"] < -100,
    "i > -100 && !ok": lambda c: c["I"] > -100 and not c["Ok"],
    "ok": lambda c: c["Ok"],
    "len(items) == 3": lambda c: c["Items"] == 3,
    "items == nil": lambda c: c["N"] % 4 == 0,
    "req == nil": lambda c: c["Nil"],
    'req.Method == "POST"': lambda c: c["Method"] == "POST",
    # of a request that is not there, nothing is true
    'req.Method != "POST"': lambda c: not c["Nil"] and c["Method"] != "POST",
    'req.Zone == "bob"': lambda c: c["Zone"] == "bob",
    "req.Price > 2.5": lambda c: c["Price"] > 2.5,
    "req.Price <= -1.25": lambda c: c["Price"] <= -1.25,
    "req.Small < 0.5": lambda c: not c["Nil"] and c["Small"] < 0.5,
    "req.Tags == nil": lambda c: not c["Nil"] and c["NoTags"],
    "len(req.Tags) == 2": lambda c: not c["NoTags"],
    'req.Next.Next.Method == "GET"': lambda c: c["Deep"] == "GET",
    "err != nil": lambda c: c["Failed"],
    "err == nil && n > 3": lambda c: not c["Failed"] and c["N"] > 3,
    "r0 < 0": lambda c: c["R"] < 0,
    "(r0 < 0 || r0 > 100) && n < 30 && (ok || u > 3)": lambda c: (
        (c["R"] < 0 or c["R"] > 100) and c["N"] < 30 and (c["Ok"] or c["U"] > 3)
    ),
    "wall > 1h": lambda c: False,
    "wall >= 0s": lambda c: True,
}
SPILLED: dict[str, Callable[[Call], bool]] = {
    "a < 0 && j == 9": lambda c: c["N"] < 0,
    'name == "bob" && req.Method == "GET"': lambda c: c["Name"] == "bob" and c["Method"] == "GET",
    'hasPrefix(out, "bob") && err == nil': lambda c: c["Name"] == "bob",
    "err != nil": lambda c: len(c["Name"]) > 3,
}


def taken(command: str, program: Path, function: str, text: str) -> tuple[int, list[Call]]:
    """How many calls undergo showed or counted, and all that were made."""
    line = undergo(command, "--json", "--no-split", "-f", function, "--filter", text, "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    made = json.loads(done.stderr.partition("CALLS ")[2])
    assert_adds_up(lines[-1])
    assert (len(made), 0) == (lines[-1]["hits"], lines[-1]["unmatched_exits"])
    if command == "trace":
        return sum(one["type"] == "call" for one in lines), made
    return sum(one["calls"] for one in lines if one["type"] == "latency"), made


@pytest.mark.parametrize("text", HANDLE)
@pytest.mark.parametrize("go", VERSIONS)
def test_calls_that_are_taken(build: Build, go: str, text: str) -> None:
    """As many as the program made of which the expression is true; the others are filtered."""
    seen, made = taken("trace", build("filtered", go, pie=go == "1.27"), "main.handle", text)
    assert sum(map(HANDLE[text], made)) == seen


@pytest.mark.parametrize("text", SPILLED)
@pytest.mark.parametrize("go", VERSIONS)
def test_arguments_on_the_stack(build: Build, go: str, text: str) -> None:
    """The same for what no register has room for, summed up in the kernel."""
    seen, made = taken("latency", build("filtered", go), "main.spilled", text)
    assert sum(map(SPILLED[text], made)) == seen


@pytest.mark.parametrize(
    ("text", "words", "column"),
    [
        ("n > 10 &&", "expected here", 9),
        ("n > 'x'", "means nothing", 4),
        ("nn > 10", "no parameter or result 'nn'", 0),
        ("req.Nope == 1", "no field 'Nope'", 4),
        ("u == 300", "300 is no uint8", 5),
        ("name == 3", "name is a string", 8),
        ('name < "x"', "== and !=", 7),
        ("n == nil", "never nil", 5),
        ("n > 1 || err != nil", "only be joined by &&", 0),
        ('name == "x', "has no end", 8),
        ("items == 3", "with nil", 0),
        ("wall > 99999999999h", "no call takes that long", 7),
        ("wall > -5ms", "wall is a duration", 7),
        (f"req.Small > {'9' * 50}", "too large for a float32", 12),
        (f"len(items) > {'9' * 20}", "nothing is that long", 13),
    ],
)
def test_a_mistake_has_a_caret_under_it(build: Build, text: str, words: str, column: int) -> None:
    """What is wrong, the expression, and a caret: exit code 2, and nothing was run."""
    program = str(build("filtered", "1.24"))
    for command in ("trace", "latency", "record"):
        line = undergo(command, "-f", "main.handle", "--filter", text, "--dry-run", "-e", program)
        assert 2 == subprocess.run(line, capture_output=True, timeout=LIMIT).returncode
    line = undergo("trace", "-f", "main.handle", "--filter", text, "--", program)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert (2, "") == (done.returncode, done.stdout)
    said, expression, caret = done.stderr.splitlines()
    assert words in said
    assert text == expression.strip()
    assert column == caret.index("^") - expression.index(text[0])


BY: dict[str, Callable[[Call], object]] = {
    # only the first 64 bytes of a text are kept
    "name": lambda c: c["Name"] if len(c["Name"]) <= 64 else f"{c['Name'][:64]}…",
    "u": lambda c: c["U"],
    "i": lambda c: c["I"],
    "ok": lambda c: c["Ok"],
    "req.Method": lambda c: None if c["Nil"] else c["Method"],
    "req.Zone": lambda c: None if c["Nil"] else c["Zone"],
}


@pytest.mark.parametrize("path", BY)
@pytest.mark.parametrize("go", VERSIONS)
def test_a_row_for_each_value(build: Build, go: str, path: str) -> None:
    """--by tells calls apart by an argument; those of which it cannot be read are in a row of their own."""
    rows, made = rows_by(build("filtered", go), path, 100)
    assert Counter(map(BY[path], made)) == {value: calls for (value, _), calls in rows.items()}
    assert {None} >= {value for value, rest in rows if rest is not None}


def test_the_rest_is_other(build: Build) -> None:
    """With more values than --max-keys all calls are counted still."""
    rows, made = rows_by(build("filtered", "1.24"), "n", 7)
    assert 7 == sum(rest is None for _, rest in rows)
    assert len(made) - 7 == rows[None, "other"]


def rows_by(program: Path, path: str, most: int) -> tuple[dict[tuple[object, str | None], int], list[Call]]:
    """Calls by value and kind of rest, and all that were made."""
    options = ("--by", path, "--max-keys", str(most), "--no-split", "-f", "main.handle")
    line = undergo("latency", "--json", *options, "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    assert_adds_up(lines[-1])
    rows = [one for one in lines if one["type"] == "latency"]
    assert {path} == {row["by"]["path"] for row in rows}
    found = {(row["by"].get("value"), row["by"].get("rest")): row["calls"] for row in rows}
    assert len(rows) == len(found)
    return found, json.loads(done.stderr.partition("CALLS ")[2])


SIGNATURE = (
    "main.handle(n int, name string, u byte, i int16, ok bool, items []int, req *struct{base struct{Zone string};"
    " Method string; Price float64; Small float32; Tags map[string]int; Next *int}) (int, error)"
)
WRITTEN: dict[str, Callable[[Call], bool]] = {
    'n > 3 && hasPrefix(name, "bob")': lambda c: c["N"] > 3 and c["Name"].startswith("bob"),
    'req.base.Zone == "bob" && len(req.Tags) == 2': lambda c: c["Zone"] == "bob" and not c["NoTags"],
    "req.Small < 0.5 && u >= 200": lambda c: not c["Nil"] and c["Small"] < 0.5 and c["U"] >= 200,
    "err != nil": lambda c: c["Failed"],
}


@pytest.mark.parametrize("go", VERSIONS)
def test_written_signatures_of_stripped_executables(build: Build, go: str) -> None:
    """--sig says what a stripped executable does not: values, errors and filters are the program's own."""
    program = build("filtered", go, stripped=True, pie=True)
    for text, true in WRITTEN.items():
        options = (
            "--no-split",
            "--args",
            "--results",
            "-f",
            "main.handle",
            "--sig",
            SIGNATURE,
            "--filter",
            text,
        )
        line = undergo("trace", "--json", *options, "--", str(program))
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
        assert 0 == done.returncode, done.stderr
        lines = [json.loads(one) for one in done.stdout.splitlines()]
        made = [one for one in json.loads(done.stderr.partition("CALLS ")[2]) if true(one)]
        calls = [one for one in lines if one["type"] == "call"]
        assert len(made) == len(calls) > 0
        for call, truth in zip(calls, made, strict=True):
            given = {one["name"]: one["value"] for one in call["args"]}
            assert (truth["N"], truth["U"], truth["I"], truth["Ok"]) == tuple(
                given[k] for k in ("n", "u", "i", "ok")
            )
            text_of = given["name"] if isinstance(given["name"], str) else given["name"]["text"]
            assert truth["Name"][:64] == text_of
            if truth["Nil"]:
                assert given["req"] is None
            else:
                assert (truth["Method"], truth["Price"]) == (
                    given["req"]["value"]["Method"],
                    given["req"]["value"]["Price"],
                )
            result, error = (one["value"] for one in call["results"])
            assert truth["R"] == result
            assert ("bad" if truth["Failed"] else None) == (error and error["message"])


def test_registers_where_nothing_is_known(build: Build) -> None:
    """--regs shows the registers of Go's calling convention, in its order."""
    options = ("--no-split", "--args", "--results", "--regs", "-f", "main.handle")
    line = undergo("trace", "--json", *options, "--", str(build("filtered", "1.24", stripped=True)))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    made = json.loads(done.stderr.partition("CALLS ")[2])
    calls = [json.loads(one) for one in done.stdout.splitlines() if '"type":"call"' in one]
    assert len(made) == len(calls)
    for call, truth in zip(calls, made, strict=True):
        given = {one["name"]: int(one["value"]) for one in call["args"]}
        assert ["AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"] == list(given)
        assert truth["N"] % (1 << 64) == given["AX"]
        assert (len(truth["Name"]), truth["U"], truth["Ok"]) == (
            given["CX"],
            given["DI"] & 255,
            given["R8"] & 1,
        )
        assert truth["R"] % (1 << 64) == int(call["results"][0]["value"])


@pytest.mark.parametrize(
    ("text", "words", "column"),
    [
        ("main.handle(n Foo)", "no description of Foo", 14),
        ("main.handle(n [x]int)", "a length", 15),
        ("main.handle(n int", "',' is expected", 17),
        ("main.handle", "parameters in parentheses", 0),
        ("main.handle(n int) error x", "nothing is expected", 25),
        ("main.handle(n map[string)", "']' is expected", 24),
    ],
)
def test_a_mistake_in_a_signature(build: Build, text: str, words: str, column: int) -> None:
    """One line that says what is wrong, the signature, and a caret under the mistake."""
    program = str(build("filtered", "1.24", stripped=True))
    line = undergo("trace", "--args", "-f", "main.handle", "--sig", text, "--", program)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert (2, "") == (done.returncode, done.stdout)
    said, signature, caret = done.stderr.splitlines()
    assert words in said
    assert column == caret.index("^") - signature.index("m")
