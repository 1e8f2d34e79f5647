"""Recordings hold what happened: read with plain duckdb, by docs/recording-format.md alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Build
from tests.live.test_life import busy, finish
from tests.live.test_states import GO_STATEMENT
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo
from undergo.recording.reader import open_recordings
from undergo.recording.tables import TABLES

VERSIONS = ["1.19", "1.27"]
CUMULATIVE = ("paths", "places")


def record(where: Path, program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Records all functions of a program from beginning to end."""
    line = undergo("record", "--json", "-o", str(where), "-f", "main.*", *options, "--", str(program))
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert 0 == done.returncode, done.stderr
    return done


class Plain:
    """The tables of a recording, as anybody would read them."""

    def __init__(self, where: Path) -> None:
        self.meta = json.loads((where / "meta.json").read_text())
        self.functions = [function["name"] for function in self.meta["functions"]]
        self._database = duckdb.connect()
        for table in TABLES:
            files = sorted(where.glob(f"segments/*/{table}.parquet"))
            chosen = [str(path) for path in (files[-1:] if table in CUMULATIVE else files)]
            columns = ", ".join(f"{name} {kind}" for name, kind in TABLES[table].items())
            made = (
                f"view {table} as select * from read_parquet({chosen})"
                if files
                else f"table {table} ({columns})"
            )
            self._database.execute(f"create {made}")

    def rows(self, query: str) -> list[Any]:
        """What a query gives."""
        return self._database.execute(query).fetchall()

    def count(self, table: str) -> int:
        """The number of rows."""
        return int(self.rows(f"select count(*) from {table}")[0][0])


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("name", ["recursion", "panics", "goexit"])
def test_calls_are_what_the_program_counted(build: Build, tmp_path: Path, name: str, go: str) -> None:
    """Every call is there once, with its ending, its caller, its path; the parts of its time add up."""
    done = record(tmp_path / "r", build(name, go))
    plain, truth = Plain(tmp_path / "r"), truth_in(done.stderr)
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    for func, ending, count in plain.rows("select func, ending, count(*) from calls group by all"):
        ends[plain.functions[func]][ending] += count
    for function, counted in truth.items():
        assert counted["calls"] == ends[function].total()
        assert counted["returns"] == ends[function]["return"]
        assert counted["panics"] == ends[function]["panic"]
        assert counted["goexits"] == ends[function]["goexit"]
    ledger = plain.meta["ledger"]
    assert_adds_up(ledger)
    assert ledger == {
        key: value for key, value in json.loads(done.stdout.splitlines()[-1]).items() if key in ledger
    }
    assert ledger["delivered"] == plain.count("calls")
    assert [] == plain.rows("""
        select * from calls where running_ns is not null
        and wall_ns <> running_ns + descheduled_ns + syscall_ns + runnable_ns + waiting_ns
    """)
    assert [] == plain.rows("""
        select call from waits join calls on call = id group by call having sum(ns) <> any_value(waiting_ns)
    """)
    # a call's path is its caller's path and its own function, as deep as the call
    assert [] == plain.rows("""
        select c.id from calls c join paths p using (path) left join calls above on c.parent = above.id
        where p.func <> c.func or p.parent is distinct from above.path or p.depth <> c.depth
    """)
    assert 0 < plain.count("paths") <= plain.count("calls")
    assert plain.meta["started_ns"] < plain.rows("select min(start_ns) from calls")[0][0]
    assert plain.rows("select max(start_ns + wall_ns) from calls")[0][0] <= plain.meta["ended_ns"]


@pytest.mark.parametrize("go", VERSIONS)
def test_calls_and_states_at_once(build: Build, tmp_path: Path, go: str) -> None:
    """Births, wakers and deaths are what the program says, and both accounts of a wait agree to the ns."""
    done = record(tmp_path / "r", build("lifecycle", go), "--states")
    plain = Plain(tmp_path / "r")
    text = done.stderr[done.stderr.index("LIVES ") :].splitlines()[0]
    lives = json.loads(text.removeprefix("LIVES "))
    assert 20 == len(lives)
    born = plain.rows("""
        select goid, parent, s."function", s.line, t."function" from births
        left join places s on s.place = statement left join places t on t.place = start
    """)
    for life in lives:
        (statement,) = [row[1:] for row in born if row[0] == life["Goid"]]
        assert (life["Parent"], "main.spawner", GO_STATEMENT) == statement[:3]
        assert statement[3] in ("main.worker", "main.spawner.func1", "main.spawner.gowrap1")
        woken = plain.rows(f"""
            select waker, reason from states
            where goid = {life["Goid"]} and before = 'waiting' and after = 'runnable' order by ts_ns
        """)
        assert [(life["Waker"], "chan receive"), (None, "sleep")] == woken
    worker = plain.functions.index("main.worker")
    compared = plain.rows(f"""
        select w.ns, s.spent_ns from waits w join calls c on w.call = c.id
        join states s on s.goid = w.goid and s.reason = w.reason and s.before = 'waiting'
        and s.ts_ns between c.start_ns and c.start_ns + c.wall_ns
        where c.func = {worker} and w.reason = 'sleep'
    """)
    assert 20 == len(compared)
    assert all(ours == theirs for ours, theirs in compared)
    ledger = plain.meta["ledger"]
    assert_adds_up(ledger)
    assert ledger["delivered"] == plain.count("calls") + plain.count("states") + plain.count("births")
    (told,) = [row for row in map(json.loads, done.stdout.splitlines()) if row["type"] == "recording"]
    assert (plain.count("calls"), plain.count("states"), plain.count("births")) == (
        told["calls"], told["states"], told["births"],
    )  # fmt: skip
    assert {"calls", "split", "states"} == set(plain.meta["kept"])


def test_arguments_and_results(build: Build, tmp_path: Path) -> None:
    """A row for each, by call: fact(n) calls fact(n - 1) and gives back n!."""
    record(tmp_path / "r", build("recursion", "1.27"), "--args", "--results", "--no-split", "--depth", "12")
    plain = Plain(tmp_path / "r")
    fact = plain.functions.index("main.fact")
    found = plain.rows(f"""
        select a.value::BIGINT, r.value::BIGINT, a.name, a.type, a.text from captures a join captures r using (call)
        where a.func = {fact} and a.place = 'argument' and r.place = 'result'
    """)
    assert 270 == len(found)
    product = {0: 1, 1: 1}
    for n in range(2, 13):
        product[n] = n * product[n - 1]
    for n, result, name, kind, text in found:
        assert (product[n], "n", "int", str(n)) == (result, name, kind, text)
    assert [(None, None)] == plain.rows("select distinct running_ns, waiting_ns from calls")
    assert [(12,)] == plain.rows("select max(depth) + 1 from calls")
    assert {"calls", "args", "results"} == set(plain.meta["kept"])


@pytest.fixture
def program(build: Build) -> Path:
    return build("attach", "1.27")


def recording(where: Path, *options: str, pid: int) -> subprocess.Popen[str]:
    """A recorder that is at work: something has reached the disk."""
    line = undergo("record", "-o", str(where), "-p", str(pid), "-f", "main.*", *options)
    recorder = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not any(path.stat().st_size for path in where.glob("raw-*")):
        assert recorder.poll() is None
        assert time.monotonic() - began < LIMIT
    return recorder


def test_ctrl_c_closes_it(program: Path, tmp_path: Path) -> None:
    """With the calls that are open then, and a word on what to do next."""
    with busy(program) as process, recording(tmp_path / "r", pid=process.pid) as recorder:
        recorder.send_signal(signal.SIGINT)
        _, said = recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
        finish(process)
    assert f"undergo report {tmp_path}/r" in said
    plain = Plain(tmp_path / "r")
    ledger = plain.meta["ledger"]
    assert_adds_up(ledger)
    assert ledger["delivered"] == plain.count("calls")
    assert ledger["open_calls"] == plain.rows("select count(*) from calls where ending = 'open'")[0][0]
    assert {"meta.json", "segments"} == set(os.listdir(tmp_path / "r"))


def test_the_end_of_the_target(program: Path, tmp_path: Path) -> None:
    """Calls that were open in a process that was killed have died."""
    with busy(program) as process, recording(tmp_path / "r", pid=process.pid) as recorder:
        process.kill()
        recorder.communicate(timeout=LIMIT)
        assert 0 == recorder.returncode
    endings = {ending for (ending,) in Plain(tmp_path / "r").rows("select distinct ending from calls")}
    assert endings <= {"return", "died"}
    assert "return" in endings


def test_killed_undergo(program: Path, tmp_path: Path) -> None:
    """What happened up to a second before is read, and said not to have been closed."""
    with busy(program) as process, recording(tmp_path / "r", pid=process.pid) as recorder:
        time.sleep(0.5)  # so that there is something to lose
        recorder.kill()
        killed = time.time_ns()
        recorder.wait(LIMIT)
        assert recorder.stderr is not None
        recorder.stderr.close()
        finish(process)
    said: list[str] = []
    opened = open_recordings([str(tmp_path / "r")], say=said.append)
    assert ["was not closed" in text for text in said] == [True]
    ((calls, last),) = opened.connection.execute(
        "select count(*), max(start_ns + wall_ns) from calls"
    ).fetchall()
    assert calls > 100
    assert killed - 10**9 < last <= killed
    assert (None, last) == (opened.metas[0].ledger, opened.metas[0].ended_ns)
    plain = Plain(tmp_path / "r")
    assert [] == plain.rows(
        "select c.id from calls c left join paths p using (path) where p.func is distinct from c.func"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(where)], check=True)
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_full_disk(program: Path, disk: Path) -> None:
    """Recording ends with one line and exit code 3; the program goes on, and what was written is whole."""
    with busy(program) as process:
        line = undergo("record", "-o", str(disk / "r"), "-p", str(process.pid), "-f", "main.*")
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
        assert 3 == done.returncode
        assert f"undergo: {disk}/r cannot be written any further: No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert "leaked" not in done.stderr  # the database was closed before the interpreter
        assert "not written" in done.stderr
        finish(process)
    opened = open_recordings([str(disk / "r")])
    ((count, ids),) = opened.connection.execute("select count(*), count(distinct id) from calls").fetchall()
    assert count == ids > 5000
    ledger = opened.metas[0].ledger
    assert ledger is not None
    assert count == ledger["delivered"]
    assert ledger["hits"] == ledger["delivered"] + ledger["filtered"] + sum(ledger["dropped"].values())


def test_what_is_in_the_way(program: Path, tmp_path: Path) -> None:
    """Refused before anything is attached or run."""
    (tmp_path / "file").write_text("mine")
    for where in (tmp_path / "file", tmp_path / "none" / "r"):
        line = undergo("record", "-o", str(where), "-f", "main.*", "--", str(program))
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
        assert 3 == done.returncode
        assert done.stderr.startswith(f"undergo: {where}")
        assert "READY" not in done.stdout
    assert "mine" == (tmp_path / "file").read_text()
