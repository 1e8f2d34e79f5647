"""`undergo export`: what is written where, and what is not."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.recordings import START, UNSPLIT, call, recursion, write_recording
from tests.unit.exports.conftest import HOSTILE
from undergo.cli.export_command import FORMATS

FILES = [format for format in FORMATS if format != "otlp"]
SOURCE = Path(__file__).parents[3] / "src"


def export(*arguments: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "undergo.cli.main", "export", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.run(
        line, capture_output="stdout" not in more, env=environment, check=False, timeout=60, **more
    )


@pytest.mark.parametrize("format", FILES)
def test_files_appear_whole(format: str, recording: Path, tmp_path: Path) -> None:
    """Losses are told; what exists stays unless --force is given; nothing else is left behind."""
    out = tmp_path / "out"
    done = export(recording, "--to", format, "-o", out)
    assert 0 == done.returncode, done.stderr
    said = done.stderr.decode()
    assert "note: lost 3 of 8 hits (37.5 %): 3 ring full\n" in said
    assert "note: 1 call had not ended when the recording did: shown up to then, marked `open`\n" in said
    first = out.read_bytes()
    assert first
    again = export(recording, "--to", format, "-o", out)
    assert 2 == again.returncode and b"exists" in again.stderr and b"--force" in again.stderr
    out.write_bytes(b"old")
    assert 0 == export(recording, "--to", format, "-o", out, "--force").returncode
    assert b"old" != out.read_bytes()
    assert {"out", "run.undergo"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("format", FILES)
def test_pipes_get_what_files_do(format: str, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert 0 == export(recording, "--to", format, "-o", out).returncode
    piped = export(recording, "--to", format)
    assert 0 == piped.returncode
    if format == "parquet":  # duckdb's rows have no order
        (tmp_path / "piped").write_bytes(piped.stdout)
        first, second = (
            duckdb.sql(f"from read_parquet('{path}') order by id").fetchall()
            for path in (out, tmp_path / "piped")
        )
        assert first == second
    elif format == "csv":
        assert sorted(out.read_bytes().splitlines()) == sorted(piped.stdout.splitlines())
    else:
        assert out.read_bytes() == piped.stdout


@pytest.mark.parametrize("format", FILES)
def test_nothing_recorded_is_valid_and_said(format: str, empty: Path, tmp_path: Path) -> None:
    done = export(empty, "--to", format, "-o", tmp_path / "out")
    assert 0 == done.returncode, done.stderr
    assert b"note: no rows in calls" in done.stderr


@pytest.mark.parametrize("format", FILES)
def test_a_full_disk_is_one_line(format: str, recording: Path) -> None:
    done = export(recording, "--to", format, "-o", "/dev/full")
    assert 1 == done.returncode
    assert b"Traceback" not in done.stderr and b"/dev/full cannot be written" in done.stderr


def test_a_full_disk_behind_stdout_is_one_line(recording: Path) -> None:
    for format in ("folded", "csv"):
        with open("/dev/full", "wb") as full:
            done = export(recording, "--to", format, stdout=full, stderr=subprocess.PIPE)
        assert 1 == done.returncode
        assert b"Traceback" not in done.stderr and b"stdout cannot be written" in done.stderr


def test_places_that_cannot_be_written(recording: Path, tmp_path: Path) -> None:
    """A missing folder, a folder, a file as a folder: one line, and the exit code for it."""
    for place, code, words in (
        (tmp_path / "no" / "out", 2, "No such file"),
        (tmp_path, 2, "is a directory"),
        (recording / "meta.json" / "out", 1, "Not a directory"),
        ("/proc/out", 2, "No such file"),
    ):
        for format in ("folded", "csv"):
            done = export(recording, "--to", format, "-o", place)
            text = done.stderr.decode().split("undergo: ")[-1]
            assert (code, True) == (done.returncode, words in text), (place, format, text)
            assert "Traceback" not in text and len(text.splitlines()) <= 2


def test_a_failure_leaves_the_old_file(recording: Path, tmp_path: Path) -> None:
    """A recording whose file is damaged: what was written before stays, and nothing lies beside it."""
    (recording / "segments" / "000000" / "waits.parquet").write_bytes(b"PAR1 not really PAR1")
    out = tmp_path / "out"
    out.write_text("old")
    done = export(recording, "--to", "pprof", "-o", out, "--force")
    assert 3 == done.returncode and b"Traceback" not in done.stderr
    assert "old" == out.read_text()
    assert {"out", "run.undergo"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize("wrong", ["func", "path", "parent", "file"])
def test_damaged_recordings_are_one_line(format: str, wrong: str, tmp_path: Path) -> None:
    """Numbers of functions and paths that are not there, paths that lead to themselves, files cut off."""
    rows = [call(n, 7 if wrong == "func" else 0, 9 if wrong == "path" else 1, n, 1) for n in range(1, 50)]
    paths = [{"path": 1, "parent": 1 if wrong == "parent" else None, "func": 0, "depth": 0}]
    made = write_recording(tmp_path / "r", ["main.a"], [{"calls": rows, "paths": paths}])
    if wrong == "file":
        file = made / "segments" / "000000" / "calls.parquet"
        whole = file.read_bytes()
        file.write_bytes(whole[:20] + bytes(len(whole) // 4) + whole[20 + len(whole) // 4 :])
    done = export(made, "--to", format, "-o", tmp_path / "out")
    assert done.returncode in (0, 3), done.stderr
    assert b"Traceback" not in done.stderr
    assert (done.returncode == 0) == (tmp_path / "out").exists()


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    """`| head` ends it without a word."""
    rows = [call(n, 0, 1, n, 1, goid=n) for n in range(1, 3000)]
    path = write_recording(tmp_path / "r", ["main.a"], [{"calls": rows}])
    for format in ("chrome", "csv"):
        command = f"'{sys.executable}' -m undergo.cli.main export {path} --to {format}"
        line = ["bash", "-c", f"{command} | head -c 10; echo ${{PIPESTATUS[0]}}"]
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        done = subprocess.run(line, capture_output=True, env=environment, check=False, timeout=60)
        assert (b"", b"0\n") == (done.stderr, done.stdout[10:]), done.stderr


@pytest.mark.parametrize("format", ["csv", "parquet", "folded"])
def test_what_is_appended_to_stays(format: str, recording: Path, tmp_path: Path) -> None:
    """`>>` keeps what the file has."""
    out = tmp_path / "out"
    out.write_bytes(b"before\n")
    with open(out, "ab") as appended:
        assert 0 == export(recording, "--to", format, stdout=appended, stderr=subprocess.PIPE).returncode
    before, _, added = out.read_bytes().partition(b"\n")
    assert b"before" == before and len(export(recording, "--to", format).stdout) == len(added) > 0


def test_a_value_of_which_nothing_is_known(tmp_path: Path) -> None:
    paths = [{"path": 1, "parent": None, "func": 0, "depth": 0}]
    path = write_recording(
        tmp_path / "r", ["a"], [{"calls": [call(1, 0, 1, 0, 9, **UNSPLIT)], "paths": paths}]
    )
    done = export(path, "--to", "folded", "--value", "waiting")
    assert 2 == done.returncode and b"nothing is known of waiting" in done.stderr


def test_tables_have_names(recording: Path, tmp_path: Path) -> None:
    """CSV by Python's own reader; NULL is nothing between two commas. Parquet of another table."""
    done = export(recording, "--to", "csv")
    rows = {row["id"]: row for row in csv.DictReader(done.stdout.decode().splitlines(keepends=True))}
    assert ("main.(*shop).charge", "shop", "20") == tuple(
        rows["2"][name] for name in ("function", "program", "waiting_ns")
    )
    assert (HOSTILE, "") == (rows["4"]["function"], rows["4"]["running_ns"])
    out = tmp_path / "births.parquet"
    assert 0 == export(recording, "--to", "parquet", "--table", "births", "-o", out).returncode
    assert [(2, 1)] == duckdb.sql(f"select goid, parent from read_parquet('{out}')").fetchall()


def test_trace_events(recording: Path) -> None:
    """Chrome's format: complete events, in us from the beginning of the recording."""
    found = json.loads(export(recording, "--to", "chrome").stdout)
    calls = {event["args"]["id"]: event for event in found["traceEvents"] if event["ph"] == "X"}
    assert START == found["otherData"]["started_ns"]
    assert ["lost 3 of 8 hits (37.5 %): 3 ring full"] == found["otherData"]["notes"][:1]
    charge = calls[2]
    assert ("main.(*shop).charge", 0.005, 0.030, 100) == tuple(
        charge[name] for name in ("name", "ts", "dur", "pid")
    )
    assert {
        "id": 2, "running_ns": 10, "descheduled_ns": 0, "syscall_ns": 0, "runnable_ns": 0, "waiting_ns": 20,
    } == charge["args"]  # fmt: skip
    assert {"id": 4, "ending": "panic"} == calls[4]["args"] and HOSTILE == calls[4]["name"]
    threads = {
        event["tid"]: event["args"]["name"]
        for event in found["traceEvents"]
        if event["name"] == "thread_name"
    }
    assert "goroutine 1" == threads[charge["tid"]] and 3 == len(threads)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 20 million calls that takes every command a while."""
    rows = {"calls": [call(1, 0, 1, 0, 1)], "paths": [{"path": 1, "parent": None, "func": 0, "depth": 0}]}
    run = write_recording(tmp_path_factory.mktemp("large") / "r", ["main.a"], [rows])
    file, more = run / "segments" / "000000" / "calls.parquet", run / "more"
    duckdb.sql(
        "copy (select i + 1 as id, * exclude (id, i, goid), i % 40000 as goid"
        f" from read_parquet('{file}'), range(20_000_000) t(i)) to '{more}' (format parquet)"
    )
    more.rename(file)
    return run


@pytest.mark.parametrize("command", ["report", "pprof", "csv"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it(command: str, number: signal.Signals, large: Path, tmp_path: Path) -> None:
    """Exit code 130 and no traceback; nothing is left behind, neither where it runs nor beside the output."""
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    arguments = ["export", str(large), "--to", command, "-o", "out"]
    if command == "report":
        arguments = ["report", str(large), "--by", "goroutine"]
    process = subprocess.Popen(
        [sys.executable, "-m", "undergo.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(scratch)},
    )
    began = time.monotonic()
    opened = 0.0
    while not opened or cpu_seconds(process.pid) < opened + 0.3:  # of several that the query takes
        assert process.poll() is None
        assert time.monotonic() - began < 60
        if not opened and any(scratch.iterdir()):  # the database is open
            opened = cpu_seconds(process.pid)
    process.send_signal(number)
    try:
        out, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (130, b"", b"undergo: interrupted") == (process.returncode, out, said.strip())
    assert [] == [*here.iterdir(), *scratch.iterdir()]


def cpu_seconds(pid: int) -> float:
    """What the process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_deep_recursion_is_bounded(tmp_path: Path) -> None:
    """20,001 levels, written out, would be gigabytes, and would have Perfetto end the wrong slices."""
    count = 20_001
    made = write_recording(tmp_path / "r", ["main.deep"], [recursion(count)])
    for format in ("perfetto", "pprof", "folded", "speedscope", "flamegraph"):
        out = tmp_path / format
        done = export(made, "--to", format, "-o", out)
        assert 0 == done.returncode, done.stderr
        assert b"19,500 calls have more than 500 callers: " in done.stderr
        assert out.stat().st_size < 5_000_000
    folded = (tmp_path / "folded").read_text().splitlines()
    assert 2 * count == sum(int(line.rpartition(" ")[2]) for line in folded)
    assert ["main.deep"] * 501 + ["(more callers)", "main.deep 39000"] == max(folded, key=len).split(";")
