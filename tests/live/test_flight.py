"""The flight recorder writes what came last, when that happens which it waits for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.test_life import busy
from tests.live.test_record import Plain
from tests.live.tracing import LIMIT, undergo

S = 10**9


@pytest.fixture
def program(build: Build) -> Path:
    return build("flight", "1.27")


@contextmanager
def flying(pid: int, where: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A flight recorder that is attached."""
    line = undergo("record", "--json", "-o", str(where), "-p", str(pid), "-f", "main.*", *options)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as recorder:
        try:
            assert recorder.stdout is not None
            assert "session" == json.loads(recorder.stdout.readline())["type"]
            yield recorder
        finally:
            recorder.kill()


def say(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()


def go(process: subprocess.Popen[str]) -> None:
    """Lets it tick, and waits until it has."""
    say(process, "go")
    assert process.stdout is not None
    assert "GOING\n" == process.stdout.readline()


def next_recording(recorder: subprocess.Popen[str]) -> dict[str, Any]:
    """Waits for it."""
    assert recorder.stdout is not None
    for text in recorder.stdout:
        row: dict[str, Any] = json.loads(text)
        if row["type"] == "recording":
            return row
    raise AssertionError(recorder.stderr.read() if recorder.stderr else "")


@pytest.mark.parametrize(
    ("until", "does"),
    [
        ("main.handle slower than 200ms", "slow"),
        ("main.w* panics", "panic"),
        ("main.work fails", "fail"),
    ],
)
def test_what_it_waits_for(program: Path, tmp_path: Path, until: str, does: str) -> None:
    """Other things do not matter; what led to it is there, beneath a caller that began long before."""
    with (
        busy(program) as process,
        flying(process.pid, tmp_path / "run.undergo", "--window", "10s", "--until", until) as recorder,
    ):
        go(process)
        others = {"slow", "panic", "fail", "fine"} - {does}
        for what in [*sorted(others), does]:
            say(process, what)
        row = next_recording(recorder)
        _, said = recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode, said
    assert str(tmp_path / "run.undergo") == row["path"]
    assert ["run.undergo"] == os.listdir(tmp_path)
    plain = Plain(tmp_path / "run.undergo")
    number = {name: func for func, name in enumerate(plain.functions)}
    # `fail` ends the work of all that was said before it; all but the last call of handle may be in here
    endings = dict(
        plain.rows(f"select ending, count(*) from calls where func = {number['main.work']} group by 1")
    )
    assert 4 == sum(endings.values())
    assert 1 == endings["panic"]
    ticks = plain.rows(
        f"select count(*), count(distinct path), any_value(path) from calls where func = {number['main.tick']}"
    )
    assert ticks[0][0] > 100
    assert [(number["main.serve"],)] == plain.rows(
        f"select above.func from paths p join paths above on p.parent = above.path where p.path = {ticks[0][2]}"
    )
    assert [("open",)] == plain.rows(f"select ending from calls where func = {number['main.serve']}")
    ledger = plain.meta["ledger"]
    assert {} == ledger["dropped"]
    assert ledger["hits"] == ledger["delivered"] + ledger["filtered"]
    assert ledger["delivered"] == plain.count("calls") == row["calls"]


def test_a_signal_writes_the_window_and_no_more(program: Path, tmp_path: Path) -> None:
    """Twice, into two recordings; the second one has nothing of the first."""
    with (
        busy(program) as process,
        flying(
            process.pid, tmp_path / "run.undergo", "--window", "300ms", "--until", "signal", "--keep", "2"
        ) as recorder,
    ):
        go(process)
        recorder.send_signal(signal.SIGUSR1)
        assert str(tmp_path / "run.undergo") == next_recording(recorder)["path"]
        go(process)
        recorder.send_signal(signal.SIGUSR1)
        assert str(tmp_path / "run-2.undergo") == next_recording(recorder)["path"]
        recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
    first, second = (Plain(tmp_path / name) for name in ("run.undergo", "run-2.undergo"))
    tick = first.functions.index("main.tick")
    assert [(2, 1, 1)] == second.rows(f"""
        select count(distinct c.parent), count(distinct p.parent), min(p.depth)
        from calls c join paths p using (path) where c.func = {tick}
    """)
    last, began = (
        one.rows(f"select {what}(start_ns) from calls where func = {tick}")[0][0]
        for one, what in ((first, "max"), (second, "min"))
    )
    assert last < began
    assert first.meta["ended_ns"] - first.meta["started_ns"] < S
    assert began >= second.meta["started_ns"]


def test_a_call_that_does_not_end(program: Path, tmp_path: Path) -> None:
    """It is told of once it has taken too long, and not again."""
    until = ["--window", "100ms", "--until", "main.serve slower than 300ms", "--keep", "2"]
    with busy(program) as process, flying(process.pid, tmp_path / "run.undergo", *until) as recorder:
        for _ in range(2):
            go(process)
            next_recording(recorder)
        assert 0 == recorder.wait(LIMIT)
    for name, count in (("run.undergo", 1), ("run-2.undergo", 2)):
        plain = Plain(tmp_path / name)
        serve = plain.functions.index("main.serve")
        found = plain.rows(f"select ending, wall_ns from calls where func = {serve} order by wall_ns")
        assert ["open"] * count == [ending for ending, _ in found]
        assert found[0][1] >= 300_000_000


def test_the_end_is_what_is_waited_for_by_default(program: Path, tmp_path: Path) -> None:
    """The program dies; its last second is there."""
    with busy(program) as process, flying(process.pid, tmp_path / "r", "--window", "5s") as recorder:
        go(process)
        process.kill()
        assert next_recording(recorder)["calls"] > 0
        recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
    plain = Plain(tmp_path / "r")
    serve = plain.functions.index("main.serve")
    assert [("died",)] == plain.rows(f"select ending from calls where func = {serve}")


def test_nothing_happened(program: Path, tmp_path: Path) -> None:
    with busy(program) as process:
        line = undergo("record", "-o", str(tmp_path / "r"), "-p", str(process.pid), "-f", "main.*")
        line += ["--window", "5s", "--until", "main.handle panics", "--duration", "300ms"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert 0 == done.returncode
    assert "nothing was written" in done.stderr
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--until", "signal"], "--until and --keep are about the flight recorder"),
        (["--window", "1s", "--rotate", "1GB"], "exclude each other"),
        (
            ["--window", "1s", "--until", "main.handle explodes"],
            "'main.handle explodes' is nothing to wait for",
        ),
        (["--window", "1s", "--until", "main.handle slower than soon"], "soon is no duration"),
        (["--window", "1s", "--until", "main.none panics"], "main.none is not among the functions traced"),
        (["--window", "1s", "--until", "main.tick fails"], "main.tick gives back no error last"),
        (["--window", "1s", "--until", "main.serve fails"], "main.serve gives back no error last"),
        (["--rotate", "5MB"], "5MB is too little"),
        (["--rotate", "much"], "much is no size"),
    ],
)
def test_wrong_options(program: Path, tmp_path: Path, options: list[str], told: str) -> None:
    """One line, exit code 2, nothing made."""
    line = undergo("record", "-o", str(tmp_path / "r"), "-e", str(program), "-f", "main.*", *options)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    assert 2 == done.returncode
    assert told in done.stderr.splitlines()[0]
    assert [] == os.listdir(tmp_path)


def test_values_of_what_is_in_the_window(program: Path, tmp_path: Path) -> None:
    """Each call has its own, also those that began long before the window did."""
    options = ["--window", "300ms", "--until", "signal", "--args", "--results"]
    with busy(program) as process, flying(process.pid, tmp_path / "r", *options) as recorder:
        go(process)
        go(process)
        recorder.send_signal(signal.SIGUSR1)
        next_recording(recorder)
        recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
    plain = Plain(tmp_path / "r")
    tick, serve = (plain.functions.index(f"main.{name}") for name in ("tick", "serve"))
    found = plain.rows(f"""
        select any_value(text) filter (where place = 'argument'), any_value(text) filter (where place = 'result'), goid
        from calls k left join captures c on k.id = c.call where k.func = {tick} group by k.id, goid, start_ns
        order by start_ns
    """)
    assert len(found) > 50
    last: dict[int, int] = {}
    for given, back, goid in found:
        assert int(back) == int(given) + 1
        assert int(given) == last.get(goid, int(given))
        last[goid] = int(back)
    assert [("0",), ("0",)] == plain.rows(f"select text from captures where func = {serve}")


@pytest.mark.parametrize("options", [[], ["--window", "60s"]])
def test_values_are_of_calls_that_are_kept(program: Path, tmp_path: Path, options: list[str]) -> None:
    """Whether a call is kept is known at its end only, what it was given long before."""
    options = [*options, "--args", "--min-duration", "200ms"]
    with busy(program) as process, flying(process.pid, tmp_path / "r", *options) as recorder:
        say(process, "slow")
        go(process)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
    plain = Plain(tmp_path / "r")
    assert [] == plain.rows("select call from captures where call not in (select id from calls)")
    found = plain.rows(
        "select c.func, text from calls k left join captures c on k.id = c.call where ending = 'return'"
    )
    names = ("main.handle", "main.work")
    assert {(plain.functions.index(name), '"slow"') for name in names} == set(found)
