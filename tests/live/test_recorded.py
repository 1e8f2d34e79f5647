"""Recorded once, looked at through every command: the figures are the program's, and the same everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Build
from tests.live.test_split import BINS, BY_MEDIAN, reason_of
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo
from tests.oracles import perfetto

VERSIONS = ["1.19", "1.24", "1.27"]
QUERIES = re.findall(
    r"```sql\n(.*?)```", (Path(__file__).parents[2] / "docs" / "sql.md").read_text(), re.DOTALL
)
#: pprof's names of the bins
PPROF = dict(zip(BINS, ("cpu", "descheduled", "syscall", "runnable", "wait"), strict=True))

Lines = list[dict[str, Any]]


def bare(label: str) -> str:
    """The name of a function, whose label names its program too where two programs have one of that name."""
    return label.rpartition(": ")[2]


def said(*arguments: str) -> str:
    """What a command of undergo prints; it has nothing to complain about."""
    done = subprocess.run(undergo(*arguments), capture_output=True, timeout=LIMIT, check=False)
    assert 0 == done.returncode, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


@dataclass(frozen=True)
class Recorded:
    """Two recordings that are read as one: what a program that panics counted, and where one's time went."""

    go: str
    command: str  # the go command
    paths: tuple[str, ...]
    counted: dict[str, dict[str, int]]  # by function
    times: dict[str, list[dict[str, tuple[int, int]]]]  # by function and call: bounds of what is known, ns

    def look(self, command: str, *options: str) -> Lines:
        """The JSON lines of a command."""
        return [json.loads(line) for line in said(command, *self.paths, "--json", *options).splitlines()]

    def sql(self, query: str) -> Lines:
        return self.look("sql", query)

    def export(self, format: str, *options: str) -> str:
        return said("export", *self.paths, "--to", format, *options)

    @cached_property
    def report(self) -> dict[str, dict[str, Any]]:
        return {row["func"]: row for row in self.look("report") if row["type"] == "latency"}

    @cached_property
    def graph(self) -> Lines:
        return [row for row in self.look("graph", "--depth", "3000") if row["type"] == "path"]

    @cached_property
    def own(self) -> Counter[tuple[str, ...]]:
        """By call path, ns that calls did not spend in recorded callees."""
        return Counter({tuple(row["path"]): row["self_ns"] for row in self.graph if row["self_ns"]})


@pytest.fixture(scope="module", params=VERSIONS)
def recorded(
    request: pytest.FixtureRequest,
    build: Build,
    go_toolchains: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Recorded:
    go, where = request.param, tmp_path_factory.mktemp("recorded")
    output = {}
    for name in ("panics", "timesplit"):
        line = undergo("record", "--json", "-o", str(where / name), "--states", "-f", "main.*", "--")
        done = subprocess.run(
            [*line, str(build(name, go))],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"GODEBUG": "asyncpreemptoff=1"},
        )
        assert 0 == done.returncode, done.stderr
        assert_adds_up(json.loads(done.stdout.splitlines()[-1]))
        output[name] = done.stderr
    (times,) = [line for line in output["timesplit"].splitlines() if line.startswith("TIMES ")]
    paths = tuple(str(where / name) for name in output)
    return Recorded(
        go,
        go_toolchains[go],
        paths,
        truth_in(output["panics"]),
        json.loads(times.removeprefix("TIMES ")),
    )


def test_report_is_what_the_programs_say(recorded: Recorded) -> None:
    """Calls and panics to the last one; times within 5 % or 200 us of each call's."""
    report = recorded.report
    for function, counted in recorded.counted.items():
        row = report[function]
        assert (counted["calls"], counted["panics"], 0) == (row["calls"], row["panics"], row["open"]), row
    for function, calls in recorded.times.items():
        row = report[function]
        assert len(calls) <= row["calls"]  # the program tries its hogs out before it knows their times
        for what in calls[0]:
            if what in BY_MEDIAN or len(calls) != row["calls"]:
                continue
            bounds = [call[what] for call in calls]
            reason = what.removeprefix("waits.")
            seen = (
                row["waits"].get(reason_of(reason, recorded.go), 0)
                if reason != what
                else sum(row[f"{bin}_ns"] for bin in what.split("+"))
            )
            low = sum(low - max(200_000, low // 20) for low, _ in bounds)
            high = sum(high + max(200_000, low // 20) for low, high in bounds)
            assert low <= seen <= high, (function, what)
    ledger = recorded.look("report")[-1]
    assert_adds_up(ledger)
    tables = {row["table"]: row["rows"] for row in recorded.look("sql")}
    assert ledger["delivered"] == tables["calls"] + tables["states"] + tables["births"]


def test_bins_add_up(recorded: Recorded) -> None:
    """Those of every row to its total, its waits to its waiting time."""
    for row in [*recorded.report.values(), *recorded.graph]:
        total = row["wall_ns"]["sum"] if row["type"] == "latency" else row["total_ns"]
        assert total == sum(row[name] for name in BINS), row
        assert row["waiting_ns"] == sum(row.get("waits", {"": row["waiting_ns"]}).values()), row


@pytest.mark.parametrize("by", ["process", "goroutine", "callpath"])
def test_report_divides_what_it_sums_up(recorded: Recorded, by: str) -> None:
    """However calls are told apart, a function's rows have all of them."""
    calls: Counter[str] = Counter()
    time: Counter[str] = Counter()
    for row in recorded.look("report", "--by", by):
        if row["type"] == "latency":
            calls[row["func"]] += row["calls"]
            time[row["func"]] += row["wall_ns"]["sum"]
    assert {name: row["calls"] for name, row in recorded.report.items()} == calls
    assert {name: row["wall_ns"]["sum"] for name, row in recorded.report.items()} == time


def test_report_by_wait(recorded: Recorded) -> None:
    """Its rows are the waits of the others."""
    rows = [row for row in recorded.look("report", "--by", "wait") if row["type"] == "latency"]
    seen: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        seen[row["func"]][row["by"]["value"]] = row["wall_ns"]["sum"]
    assert seen == {name: row["waits"] for name, row in recorded.report.items() if row["waits"]}


def test_graph_has_the_calls_of_report(recorded: Recorded) -> None:
    """By function, calls and total time; own times and those of callees are the total."""
    calls: Counter[str] = Counter()
    time: Counter[str] = Counter()
    beneath: Counter[tuple[str, ...]] = Counter()
    for row in recorded.graph:
        calls[row["func"]] += row["calls"]
        time[row["func"]] += row["total_ns"]
        beneath[tuple(row["path"][:-1])] += row["total_ns"]
    assert {name: row["calls"] for name, row in recorded.report.items()} == calls
    assert {name: row["wall_ns"]["sum"] for name, row in recorded.report.items()} == time
    for row in recorded.graph:
        assert row["total_ns"] == row["self_ns"] + beneath[tuple(row["path"])], row
    # 2,001 deep, three times
    assert 2001 == max(row["path"].count("main.fall") for row in recorded.graph)


def test_sql_gives_the_same(recorded: Recorded) -> None:
    """The ten of docs/sql.md are answered, and two of them by what graph and report say."""
    answers = [recorded.sql(query) for query in QUERIES]
    assert 10 == len(answers)
    slow, waits, _, _, otherwise, _, own, _, _, wakes = answers
    calls: Counter[str] = Counter()
    for row in slow:
        calls[row["name"]] += row["calls"]
    assert calls == Counter({name: count for name, (count, _) in plain(recorded.report).items()})
    by_function: Counter[str] = Counter()
    for path, ns in recorded.own.items():
        by_function[bare(path[-1])] += ns
    assert {row["name"]: row["own_ns"] for row in own if row["own_ns"]} == by_function
    outermost = [row for row in recorded.graph if len(row["path"]) == 1]
    assert sum(row["total_ns"] for row in waits) == sum(row["waiting_ns"] for row in outermost)
    panics: Counter[str] = Counter()
    for name, row in recorded.report.items():
        panics[bare(name)] += row["panics"]
    assert +panics == Counter({row["name"]: row["calls"] for row in otherwise if row["ending"] == "panic"})
    # main.main ends them all, but for the network's
    assert 5 * 8 <= sum(row["times"] for row in wakes if row["waker"] == 1)


def test_slowest_is_the_longest(recorded: Recorded) -> None:
    """`report --slowest` and `explain` show the same call, the one of which report gives the maximum."""
    for name in ("main.receiver", "main.catch"):
        (slowest,) = [
            row for row in recorded.look("report", "--slowest", "1", "-f", name) if row.get("func") == name
        ]
        (told,) = [row for row in recorded.look("explain", "-f", name) if row.get("func") == name]
        assert slowest == told
        assert recorded.report[name]["wall_ns"]["max"] == told["wall_ns"]


#: Functions, what they wait for, and the functions in which main ends that: they sleep 20 ms before.
ENDED_BY_MAIN = {
    "main.receiver": ("chan receive", "main.main.func5"),
    "main.sender": ("chan send", "main.main.func7"),
    "main.selector": ("select", "main.main.func9"),
    "main.locker": ("mutex", "main.at"),
    "main.readLocker": ("rlock", "main.at"),
    "main.writeLocker": ("wlock", "main.at"),
    "main.conditional": ("sync.Cond.Wait", "main.at"),
    "main.grouper": ("waitgroup", "main.at"),
}


@pytest.mark.parametrize("name", ENDED_BY_MAIN)
def test_explain_knows_who_ended_a_wait(recorded: Recorded, name: str) -> None:
    """Goroutine 1, in the calls in which the program does it, and that it had slept until then."""
    reason, within = ENDED_BY_MAIN[name]
    lines = recorded.look("explain", "-f", name, "--slowest", "5")
    calls = [row for row in lines if row.get("func") == name]
    assert 5 == len(calls)
    for call in calls:
        stays = [row for row in lines if row["type"] == "stay" and row["call"] == call["id"]]
        (wait,) = [
            row for row in stays if row["reason"] == reason_of(reason, recorded.go) and row["ns"] > 10**7
        ]
        waker = wait["waker"]
        calls_then = [bare(label) for label in waker["calls"]]
        assert (1, "main.main", "main.waited", within) == (waker["goid"], *calls_then[:2], calls_then[-1])
        assert waker["spent_ns"]["sleep"] >= 0.95 * wait["ns"]
        assert wait["ns"] == sum(waker["spent_ns"].values())
        assert wait["ns"] <= call["waits"][wait["reason"]]
        assert call["start_ts_ns"] <= wait["ts_ns"] and wait["ended"]
        # the rest of the call's time off the CPU is told as well
        for state in ("waiting", "runnable"):
            assert call[f"{state}_ns"] == sum(row["ns"] for row in stays if row["state"] == state)


def test_folded_has_own_times(recorded: Recorded) -> None:
    """By call path, those of the graph; the values are its bins, and they add up."""
    text = recorded.export("folded")
    lines = (line.rpartition(" ") for line in text.splitlines())
    # main.fall is 2,001 deep: of paths beyond 500 callers the sum is told
    expected = Counter({path: ns for path, ns in recorded.own.items() if len(path) <= 501})
    for path, ns in recorded.own.items():
        if len(path) > 501:
            expected[*path[:501], "(more callers)", path[-1]] += ns
    assert expected == Counter({tuple(path.split(";")): int(ns) for path, _, ns in lines if int(ns)})
    outermost = [row for row in recorded.graph if len(row["path"]) == 1]
    for name in BINS:
        text = recorded.export("folded", "--value", name.removesuffix("_ns"))
        whole = sum(int(line.rpartition(" ")[2]) for line in text.splitlines())
        assert sum(row[name] for row in outermost) == whole


def test_pprof_has_own_times(recorded: Recorded, tmp_path: Path) -> None:
    """As `go tool pprof` adds them up by function; waits by reason."""
    said("export", *recorded.paths, "--to", "pprof", "-o", str(tmp_path / "p.gz"))

    def pprof(*options: str) -> str:
        line = [recorded.command, "tool", "pprof", "-unit=ns", *options, str(tmp_path / "p.gz")]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=LIMIT).stdout

    outermost = [row for row in recorded.graph if len(row["path"]) == 1]
    for name, kind in PPROF.items():
        top = pprof("-top", "-nodefraction=0", "-nodecount=100000", f"-sample_index={kind}")
        flat = re.findall(r"^ *(\d+)(?:ns)? +\S+% +\S+% +\d+(?:ns)? +\S+% +(.*)$", top, re.MULTILINE)
        assert sum(row[name] for row in outermost) == sum(int(ns) for ns, _ in flat)
    top = pprof("-top", "-nodefraction=0", "-nodecount=100000", "-sample_index=wall")
    flat = re.findall(r"^ *(\d+)(?:ns)? +\S+% +\S+% +\d+(?:ns)? +\S+% +(.*)$", top, re.MULTILINE)
    by_function: Counter[str] = Counter()
    for path, ns in recorded.own.items():
        by_function[path[-1]] += ns
    assert by_function == Counter({name: int(ns) for ns, name in flat if int(ns)})
    tags = pprof("-tags", "-sample_index=wait")
    waits = {row["reason"]: row["total_ns"] for row in recorded.sql(QUERIES[1])}
    shown = re.findall(r"(\d+)(?:\.0)?(?:ns)? +\([ \d.]+%\): (.*)", tags)
    assert waits == {reason: int(ns) for ns, reason in shown}


def test_flame_graph_and_speedscope_have_own_times(recorded: Recorded) -> None:
    """Bin by bin, all of the outermost calls' time."""
    page = recorded.export("flamegraph")
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[0])
    assert sum(recorded.own.values()) == sum(data["nodes"]["wall"])
    assert sum(row["calls"] for row in recorded.graph) == sum(data["nodes"]["calls"])
    scope = json.loads(recorded.export("speedscope"))
    totals = {one["name"]: sum(one["weights"]) for one in scope["profiles"]}
    outermost = [row for row in recorded.graph if len(row["path"]) == 1]
    assert sum(recorded.own.values()) == totals["wall"]
    assert sum(row["waiting_ns"] for row in outermost) == totals["waiting"]


def sums(slices: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Number and total time by name."""
    found: dict[str, list[int]] = defaultdict(list)
    for name, ns in slices:
        found[name].append(ns)
    return {name: (len(times), sum(times)) for name, times in found.items()}


def plain(report: dict[str, dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Number and total time of calls by name alone, which two programs may share."""
    found: Counter[str] = Counter()
    time: Counter[str] = Counter()
    for label, row in report.items():
        found[bare(label)] += row["calls"]
        time[bare(label)] += row["wall_ns"]["sum"]
    return {name: (found[name], time[name]) for name in found}


def test_timelines_have_every_call(recorded: Recorded) -> None:
    """Chrome's, and Perfetto's as its trace processor reads it; states last as long as was recorded."""
    expected = plain(recorded.report)
    events = json.loads(recorded.export("chrome"))["traceEvents"]
    assert expected == sums((one["name"], round(one["dur"] * 1000)) for one in events if one["ph"] == "X")
    if not perfetto.wasm():
        return
    done = subprocess.run(
        undergo("export", *recorded.paths, "--to", "perfetto"), capture_output=True, timeout=LIMIT, check=True
    )
    slices, states, wrong = perfetto.query(
        done.stdout,
        "select s.name, s.dur from slice s join track t on s.track_id = t.id"
        " where t.name glob 'goroutine*' and s.name not glob 'go *'",
        "select s.name, count(*) as n, sum(s.dur) as ns from slice s join track t on s.track_id = t.id"
        " where t.name = 'state' and s.name like 'waiting: %' group by s.name",
        "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
    )
    assert [] == wrong
    # its nesting ends at 512, so that calls with more than 500 callers are left out
    drawn = recorded.sql("select name, wall_ns from calls join functions using (func) where depth <= 500")
    assert sums((row["name"], row["wall_ns"]) for row in drawn) == sums(
        (row["name"], row["dur"]) for row in slices
    )
    assert 3 * (2001 - 500) < sum(row["calls"] for row in recorded.report.values()) - len(slices)
    for row in states:
        reason = row["name"].removeprefix("waiting: ")
        (found,) = recorded.sql(
            "select count(*) as n, sum(spent_ns) as ns from states"
            f" where before = 'waiting' and reason = '{reason}' and spent_ns is not null"
        )
        # what had not ended when the recording did is drawn up to there
        assert found["n"] <= row["n"] and (found["ns"] or 0) <= row["ns"], row


def test_tables_are_the_tables(recorded: Recorded, tmp_path: Path) -> None:
    """As CSV and Parquet, with the functions' names."""
    expected = plain(recorded.report)
    rows = csv.DictReader(io.StringIO(recorded.export("csv")))
    assert expected == sums((row["function"], int(row["wall_ns"])) for row in rows)
    said("export", *recorded.paths, "--to", "parquet", "-o", str(tmp_path / "calls.parquet"))
    found = duckdb.sql(f"select function, wall_ns from '{tmp_path}/calls.parquet'").fetchall()
    assert expected == sums(found)


def test_a_program_compared_with_itself(recorded: Recorded) -> None:
    """Nothing has changed."""
    rows = recorded.look("report", *[each for path in recorded.paths for each in ("--compare", path)])
    changes = [row for row in rows if row["type"] == "change"]
    assert set(recorded.report) == {row["func"] for row in changes}
    for row in changes:
        assert row["before"] == row["after"]
        assert True not in row["beyond_noise"].values()


def test_without_options_each_is_quick(recorded: Recorded) -> None:
    """For people, too, each says something, and nothing that is not for a terminal."""
    for command in ("report", "graph", "explain"):
        text = said(command, *recorded.paths)
        assert 5 < len(text.splitlines()) and "\x1b" not in text
