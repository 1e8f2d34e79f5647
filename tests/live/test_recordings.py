"""What `report`, `graph` and `explain` say of recordings is what the programs know of themselves."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.test_split import spent
from tests.live.tracing import LIMIT, truth_in, undergo

VERSIONS = ["1.19", "1.24", "1.27"]
#: Ground truth, and what there is to know about it: program, more options, what its environment has.
PROGRAMS = {
    "webapp": (["-f", "net/http.(*Client).do"], {}),
    "timesplit": ([], {"GODEBUG": "asyncpreemptoff=1"}),
    "panics": ([], {}),
    "recursion": (["--depth", "15"], {}),
    "pingpong": ([], {}),
    "labelled": (["--labels", "--args"], {}),
    "lifecycle": (["--states"], {}),
    "coroutines": (["--no-split"], {}),
}
Stack = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A recording, and what the program said when it was made."""

    path: Path
    said: str


def made(build: Build, where: Path, name: str, go: str, *options: str) -> Made:
    """Records a program from its first instruction to its end."""
    more, environment = PROGRAMS[name]
    program = build(name, go)
    line = undergo("record", "-o", str(where), "-f", "main.*", *more, *options, "--", str(program))
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    assert 0 == done.returncode, done.stderr
    return Made(where, done.stdout + done.stderr)


def told(*arguments: str | Path) -> bytes:
    """What a command says, and that it says it without a word on stderr but notes."""
    done = subprocess.run(undergo(*map(str, arguments)), capture_output=True, timeout=LIMIT, check=False)
    assert 0 == done.returncode, done.stderr.decode()
    assert all(line.startswith("note: ") for line in done.stderr.decode().splitlines()), done.stderr
    return done.stdout


def lines(*arguments: str | Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one type that a command says with --json."""
    rows = [json.loads(text) for text in told(*arguments, "--json").splitlines()]
    assert "ledger" == rows[-1]["type"]
    return [row for row in rows if row["type"] == kind]


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: an int, or bytes."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        value, at = varint(message, at)
        number, kind = divmod(tag, 8)
        if kind == 0:
            yield number, value
        else:
            assert kind == 2
            yield number, message[at : at + value]
            at += value


def varints(packed: bytes) -> list[int]:
    """The numbers of a packed field."""
    found, at = [], 0
    while at < len(packed):
        value, at = varint(packed, at)
        found.append(value)
    return found


def pprof(path: Path) -> tuple[list[str], Counter[tuple[Stack, str, str]]]:
    """The sample types, and the sums by stack, wait reason ("": none) and type, as profile.proto has them."""
    parts = defaultdict(list)
    for number, value in fields(gzip.decompress(told("export", path, "--to", "pprof"))):
        parts[number].append(value)
    texts = [text.decode() for text in parts[6]]
    types = [texts[dict(fields(kind))[1]] for kind in parts[1]]
    names = {row[1]: texts[row[2]] for row in (dict(fields(function)) for function in parts[5])}
    places = {row[1]: names[dict(fields(row[4]))[1]] for row in (dict(fields(at)) for at in parts[4])}
    found: Counter[tuple[Stack, str, str]] = Counter()
    for sample in parts[2]:
        row = dict(fields(sample))
        stack = tuple(places[at] for at in reversed(varints(row[1])))
        label = dict(fields(row[3])) if 3 in row else {}
        for kind, value in zip(types, varints(row[2]), strict=True):
            found[stack, texts[label.get(2, 0)], kind] += value
    return types, found


def folded(path: Path, value: str) -> dict[Stack, int]:
    """Stacks and what they have."""
    found = {}
    for line in told("export", path, "--to", "folded", "--value", value).decode().splitlines():
        stack, _, number = line.rpartition(" ")
        found[tuple(stack.split(";"))] = int(number)
    return found


def flamegraph(path: Path) -> tuple[list[Stack], dict[str, Any]]:
    """The stack of each node, and the page's data."""
    page = told("export", path, "--to", "flamegraph").decode()
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(text)
    stacks: list[Stack] = []
    for parent, func in zip(data["nodes"]["parent"], data["nodes"]["func"], strict=True):
        stacks.append((*(stacks[parent] if parent >= 0 else ()), data["names"][func]))
    return stacks, data


def speedscope(path: Path) -> dict[str, Counter[Stack]]:
    """What each stack has, by profile."""
    data = json.loads(told("export", path, "--to", "speedscope"))
    names = [frame["name"] for frame in data["shared"]["frames"]]
    found = {}
    for one in data["profiles"]:
        sums: Counter[Stack] = Counter()
        for stack, weight in zip(one["samples"], one["weights"], strict=True):
            sums[tuple(names[at] for at in stack)] += weight
        found[one["name"]] = sums
    return found


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("name", ["webapp", "panics"])
def test_counts_are_the_programs_own(build: Build, tmp_path: Path, name: str, go: str) -> None:
    """Calls and panics of each function, from `report` and from `graph`."""
    one = made(build, tmp_path / "r", name, go)
    truth = truth_in(one.said)
    report = {row["func"]: row for row in lines("report", one.path, kind="latency")}
    graph: Counter[str] = Counter()
    for row in lines("graph", one.path, "--depth", "3000", kind="path"):
        graph[row["func"]] += row["calls"]
    compared = [func for func in truth if func.startswith("main.")]
    assert 5 < len(compared)
    for func in compared:
        assert truth[func]["calls"] == report[func]["calls"] == graph[func]
        assert truth[func]["panics"] == report[func]["panics"]


@pytest.mark.parametrize("go", VERSIONS)
def test_times_are_the_programs_own(build: Build, tmp_path: Path, go: str) -> None:
    """Sums of waits, within 5 % or 200 us a call of what the program knows."""
    one = made(build, tmp_path / "r", "timesplit", go)
    (text,) = [line for line in one.said.splitlines() if line.startswith("TIMES ")]
    report = {row["func"]: row for row in lines("report", one.path, kind="latency")}
    compared = 0
    for func, calls in json.loads(text.removeprefix("TIMES ")).items():
        for what in calls[0]:
            if not what.startswith("waits."):
                continue
            low, high = (sum(call[what][at] for call in calls) for at in (0, 1))
            tolerance = max(200_000 * len(calls), low // 20)
            assert low - tolerance <= spent(report[func], what, go) <= high + tolerance, (func, what)
            compared += 1
    assert 9 < compared


@pytest.mark.parametrize("go", VERSIONS)
def test_explained_wakers_are_the_programs_own(build: Build, tmp_path: Path, go: str) -> None:
    """A worker waits for its spawner, which is in no call but main.spawner, and then for a timer."""
    one = made(build, tmp_path / "r", "lifecycle", go)
    text = next(line for line in one.said.splitlines() if line.startswith("LIVES "))
    wakers = {life["Goid"]: life["Waker"] for life in json.loads(text.removeprefix("LIVES "))}
    rows = [
        json.loads(row)
        for row in told("explain", one.path, "--slowest", "20", "-f", "main.worker", "--json").splitlines()
    ]
    calls = {row["id"]: row for row in rows if row["type"] == "call" and row["func"] == "main.worker"}
    assert set(wakers) == {call["goid"] for call in calls.values()}
    for id, call in calls.items():
        waits = [
            row for row in rows if row["type"] == "stay" and row["call"] == id and row["state"] == "waiting"
        ]
        assert ["chan receive", "sleep"] == [row["reason"] for row in waits]
        received, slept = waits
        assert wakers[call["goid"]] == received["waker"]["goid"]
        assert ["main.spawner"] == received["waker"]["calls"]
        assert slept["waker"] is None
        assert received["ended"] and slept["ended"]
        assert {row["reason"]: row["ns"] for row in waits} == call["waits"]
        # the spawner slept for 2 ms meanwhile, and did nothing else worth mentioning
        meanwhile = received["waker"]["spent_ns"]
        assert received["ns"] >= sum(meanwhile.values())
        assert "sleep" == max(meanwhile, key=lambda what: meanwhile[what])
        told_of = told("explain", one.path, "--call", str(id)).decode()
        assert f"goroutine {wakers[call['goid']]}" in told_of and "main.spawner" in told_of


@pytest.mark.parametrize("go", VERSIONS)
def test_players_wait_for_each_other(build: Build, tmp_path: Path, go: str) -> None:
    """Of four pairs, who wakes a player is its partner; its stays are its waits, to the nanosecond."""
    one = made(build, tmp_path / "r", "pingpong", go, "--states")
    command = ("explain", one.path, "--slowest", "8", "-f", "main.play", "--limit", "1000000")
    rows = [json.loads(row) for row in told(*command, "--json").splitlines()]
    calls = {row["id"]: row for row in rows if row["type"] == "call"}
    assert 8 == len(calls)
    partner = {}
    for id, call in calls.items():
        waits = [
            row for row in rows if row["type"] == "stay" and row["call"] == id and row["state"] == "waiting"
        ]
        sums: Counter[str] = Counter()
        for row in waits:
            sums[row["reason"]] += row["ns"]
        assert call["waits"] == sums
        wakers = Counter(row["waker"]["goid"] for row in waits if row["waker"])
        assert wakers.pop(1, 0) <= 1  # main begins the play
        if wakers:  # a pair may begin when time is up
            (partner[call["goid"]],) = wakers
        for row in waits:
            if row["waker"] and row["waker"]["goid"] != 1:
                assert "main.play" == row["waker"]["calls"][-1]
    assert any(other in partner for other in partner.values())
    assert all(partner.get(other, goid) == goid for goid, other in partner.items())
