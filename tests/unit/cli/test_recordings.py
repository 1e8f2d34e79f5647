"""The commands that look at recordings, run as users run them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import Spec, call, ledger, recursion, tables_of, write_recording
from tests.unit.cli.test_bad_input import assert_refused, undergo
from undergo.recording.lock import Lock
from undergo.recording.meta import ExecutableRow

NAMES = ["main.handle", "main.query", "main.idle"]
SOURCE = Path(__file__).parents[3] / "src"
COMMANDS = ["report", "graph", "explain", "sql"]


def _request(scale: int) -> Spec:
    query = Spec(1, (1_000, 0, 0, 0, 50_000 * scale), "IO wait")
    return Spec(0, (2_000, 0, 3_000, 0, 0), beneath=(query, query))


def made(where: Path, scale: int = 1, **more: Any) -> str:
    tables = tables_of({(100, goid): [_request(scale)] * 40 for goid in (1, 2)})
    options = {"ledger": ledger(240)} | more
    return str(write_recording(where, NAMES, [tables], **options))


def lines_of(*arguments: str) -> list[dict[str, Any]]:
    done = undergo(*arguments)
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_report(tmp_path: Path) -> None:
    done = undergo("report", made(tmp_path / "r"))
    assert "" == done.stderr
    head, first, waits, *_ = done.stdout.splitlines()
    assert ["CALLS", "P50"] == head.split()[:2]
    assert ["80", "107", "us", "107", "us"] == first.split()[:5]
    assert first.endswith("main.handle")
    assert "IO wait 93% 8.00 ms" in waits
    assert "interpolated" not in done.stdout


def test_report_as_json(tmp_path: Path) -> None:
    """The lines of `latency`, with a histogram, and the recorded ledger last."""
    path = made(tmp_path / "r")
    *rows, last = lines_of("report", path, "--json", "--sort", "calls")
    assert [("main.query", 160), ("main.handle", 80)] == [(row["func"], row["calls"]) for row in rows]
    assert {
        "sum": 51_000 * 160,
        "min": 51_000,
        "max": 51_000,
        "p50": 51_000,
        "p90": 51_000,
        "p99": 51_000,
    } == (rows[0]["wall_ns"])
    assert ({"IO wait": 50_000 * 160}, 100) == (rows[0]["waits"], rows[0]["pid"])
    assert [[49_152, 57_344, 160]] == rows[0]["histogram"]
    assert ("ledger", 240) == (last["type"], last["hits"])
    by = [
        row["by"] for row in lines_of("report", path, "--json", "--by", "goroutine", "-f", "main.query")[:-1]
    ]
    assert [{"path": "goroutine", "value": 1}, {"path": "goroutine", "value": 2}] == by
    assert [{"path": "wait", "value": "IO wait"}] == [
        row["by"] for row in lines_of("report", path, "--json", "--by", "wait", "--limit", "1")[:-1]
    ]


def test_report_of_the_slowest(tmp_path: Path) -> None:
    path = made(tmp_path / "r")
    done = undergo("report", path, "--slowest", "2")
    assert 2 == done.stdout.count("main.handle() {")
    assert 4 == done.stdout.count("main.query()")
    calls = lines_of("report", path, "--slowest", "1", "--json")[:-1]
    assert ["main.handle", "main.query", "main.query"] == [row["func"] for row in calls]
    assert {"IO wait": 100_000} == calls[0]["waits"]


def test_report_compares(tmp_path: Path) -> None:
    before, after = made(tmp_path / "a"), made(tmp_path / "b", 2)
    done = undergo("report", before, "--compare", after)
    assert "+93%" in done.stdout
    assert "waiting +100 us" in done.stdout
    row = lines_of("report", before, "--compare", after, "--json", "-f", "main.handle")[0]
    assert ("change", 107_000, 207_000) == (
        row["type"], row["before"]["wall_ns"]["mean"], row["after"]["wall_ns"]["mean"]
    )  # fmt: skip
    assert 100_000 == row["after"]["per_call"]["waiting_ns"] - row["before"]["per_call"]["waiting_ns"]
    assert_refused(undergo("report", before, "--compare", after, "--by", "wait"), 2, "--compare")


def test_graph(tmp_path: Path) -> None:
    path = made(tmp_path / "r")
    lines = undergo("graph", path).stdout.splitlines()
    assert lines[1].endswith("main.handle")
    assert lines[2].endswith("└─ main.query")
    rows = lines_of("graph", path, "--json")
    assert [["main.handle"], ["main.handle", "main.query"]] == [row["path"] for row in rows[:-1]]
    assert [5_000 * 80, 51_000 * 160] == [row["self_ns"] for row in rows[:-1]]
    assert "ledger" == rows[-1]["type"]


def test_sql(tmp_path: Path) -> None:
    path = made(tmp_path / "r")
    query = "select name, count(*) as calls from calls join functions using (func) group by all order by 2"
    assert [{"name": "main.handle", "calls": 80}, {"name": "main.query", "calls": 160}] == (
        lines_of("sql", path, query, "--json")
    )
    rows = list(csv.reader(undergo("sql", path, path, query, "--csv").stdout.splitlines()))
    assert [["name", "calls"], ["main.handle", "160"], ["main.query", "320"]] == rows
    assert "calls  240 rows" in undergo("sql", path).stdout
    assert {"table": "paths", "column": "depth", "type": "INTEGER", "rows": 2} in lines_of(
        "sql", path, "--json"
    )
    done = undergo("sql", path, "select nme from functions")
    assert (2, "") == (done.returncode, done.stdout)
    told, line, caret = done.stderr.splitlines()
    assert '"nme" not found' in told
    assert line.index("nme") == caret.index("^")


def test_explain(tmp_path: Path) -> None:
    path = made(tmp_path / "r")
    done = undergo("explain", path, "--call", "1")
    assert 2 == done.stdout.count("main.query()")
    assert "record --states" in done.stdout
    assert 3 == undergo("explain", path, "--slowest", "3").stdout.count("goroutine ") - 3
    assert_refused(undergo("explain", path, "--call", "999"), 2, "no call 999")
    assert_refused(undergo("explain", path, "--call", "1", "-f", "main.*"), 2, "--call")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_recording(command: str, tmp_path: Path) -> None:
    """One clear line, and the exit code of recordings that cannot be read."""
    query = ["select 1 as one"] if command == "sql" else []
    assert_refused(undergo(command, str(tmp_path / "none"), *query), 3, "does not exist")
    assert_refused(undergo(command, str(tmp_path), *query), 3, "is not a recording")
    whole = Path(made(tmp_path / "r"))
    (whole / "segments/000000/calls.parquet").write_bytes(b"PAR1 no more")
    assert_refused(undergo(command, str(whole), *query), 3, "damaged")


@pytest.mark.parametrize("command", ["report", "graph", "explain"])
def test_what_is_not_whole(command: str, tmp_path: Path) -> None:
    """Nothing recorded, losses, dropped segments, and an end that never came are each told, and change no exit code."""
    empty = str(write_recording(tmp_path / "empty", [], [{}]))
    done = undergo(command, empty)
    assert 0 == done.returncode
    assert "has no calls" in done.stderr
    assert "no " in done.stdout
    lossy = made(tmp_path / "lossy", ledger=ledger(240, ring_full=60), dropped_segments=3)
    done = undergo(command, lossy)
    assert "lost 60 of 300 hits (20.0 %): 60 ring full" in done.stderr
    assert "the 3 oldest segments" in done.stderr
    open_ended = made(tmp_path / "open", ended_ns=None, ledger=None)
    lock = Lock(open_ended)  # somebody records it now
    assert "is not closed" in undergo(command, open_ended).stderr
    rows = lines_of(command, open_ended, "--json")
    assert ("issue", "not closed") == (rows[-2]["type"], rows[-2]["kind"])
    assert ("ledger", None) == (rows[-1]["type"], rows[-1]["hits"])
    lock.give_back(done=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--by", "nothing"], "--by nothing"),
        (["report", "--by", "arg:id"], "argument id"),
        (["report", "-f", "main.hndle"], "did you mean main.handle?"),
        (["report", "-f", "@sql"], "sets"),
        (["graph", "-f", "/(/"], "regular expression"),
        (["graph", "--min-share", "101"], "--min-share"),
        (["report", "--sort", "name"], "--sort"),
        (["explain", "--slowest", "0"], "--slowest"),
        (["sql", "--json", "--csv"], "one of them"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], words: str, tmp_path: Path) -> None:
    path = made(tmp_path / "r")
    assert_refused(undergo(arguments[0], path, *arguments[1:]), 2, words)


def test_no_recording_at_all() -> None:
    for command in COMMANDS:
        assert_refused(undergo(command), 2, "RECORDING")


def test_times_have_all_their_digits(tmp_path: Path) -> None:
    """A time since the epoch in ns has more than a float does."""
    path = made(tmp_path / "r")
    query = "select 1795266364309263016 as start_ns, 1795266364309263017 as n"
    assert ["1795266364309263016", "1795266364309263017"] == undergo("sql", path, query).stdout.split()[2:]
    assert {"start_ns": 1795266364309263016, "n": 1795266364309263017} == lines_of(
        "sql", path, query, "--json"
    )[0]


def test_functions_of_one_name_in_two_programs(tmp_path: Path) -> None:
    """Every command calls them by their programs' names too."""
    shop = made(tmp_path / "shop")
    store = made(tmp_path / "store", executables=(ExecutableRow("/bin/store", "go1.27.3", "b", "store"),))
    names = {f"{program}: {name}" for program in ("shop", "store") for name in NAMES[:2]}
    for command in (["report"], ["graph"], ["report", "--slowest", "9"], ["explain", "--slowest", "9"]):
        rows = lines_of(command[0], shop, store, "--json", *command[1:])
        assert names >= {row["func"] for row in rows if row.get("func")}
    assert names == {row["func"] for row in lines_of("report", shop, store, "--json")[:-1]}
    folded = undergo("export", shop, store, "--to", "folded").stdout
    assert names == {name for line in folded.splitlines() for name in line.rpartition(" ")[0].split(";")}


@pytest.mark.parametrize("command", ["report", "graph", "explain", "sql"])
def test_functions_that_are_not_there(command: str, tmp_path: Path) -> None:
    tables = tables_of({(100, 1): [_request(1)]})
    damaged = str(write_recording(tmp_path / "r", NAMES[:1], [tables]))
    assert_refused(undergo(command, damaged), 3, "damaged: calls of functions that are not in meta.json")


def test_deep_graphs_have_a_bound(tmp_path: Path) -> None:
    """People get 40 levels, programs 500; what lies deeper is counted."""
    path = str(write_recording(tmp_path / "r", NAMES, [recursion(600, func=1)]))
    done = undergo("graph", path)
    assert 40 == done.stdout.count("main.query")
    assert "main.query (+1)" in done.stdout
    rows = [row for row in lines_of("graph", path, "--json") if row["type"] == "path"]
    assert [0] * 499 + [1] == [row["left_out"] for row in rows]
    whole = lines_of("graph", path, "--json", "--depth", "1000")
    assert 600 == sum(row["type"] == "path" for row in whole)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "select count(*) from calls a, calls b, calls c where (a.id * b.id + c.id) % 7 = 9"],
        ["export", "--to", "csv"],
        ["export", "--to", "perfetto"],
    ],
)
def test_ctrl_c(arguments: list[str], tmp_path: Path) -> None:
    """It ends at once, with one line and 130, and leaves nothing behind: no file, no directory of DuckDB's."""
    rows = [call(n, 0, 1, n, 1) for n in range(1, 20_000)]
    path = write_recording(tmp_path / "r", NAMES, [{"calls": rows}])
    (tmp_path / "scratch").mkdir()
    (tmp_path / "here").mkdir()
    line = [sys.executable, "-m", "undergo.cli.main", arguments[0], str(path), *arguments[1:]]
    process = subprocess.Popen(
        line,
        cwd=tmp_path / "here",
        env=os.environ | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path / "scratch")},
        stdout=subprocess.PIPE,  # which nobody reads: no export ends by itself
        stderr=subprocess.PIPE,
    )
    while not list((tmp_path / "scratch").iterdir()):  # it is about to read
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # and by then it does
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (130, "undergo: interrupted") == (process.returncode, said.decode().strip())
    assert [] == list((tmp_path / "scratch").iterdir())
    assert [] == list((tmp_path / "here").iterdir())
