"""Sets of functions, and several programs in one run: each process has its own goroutines, calls and table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.live.test_counts import VERSIONS
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo

HANDLERS = {
    "main.plain",
    "main.(*server).method",
    "main.(*server).ServeHTTP",
    "main.answer.ServeHTTP",
    "main.closure.func1",
    "main._Greeter_SayHello_Handler",
    "undergo.test/programs/webapp/store.Health",
}


def latencies(*arguments: str) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """The lines of `undergo latency` on a command, and what the command counted itself."""
    done = subprocess.run(
        undergo("latency", "--json", *arguments), capture_output=True, text=True, timeout=LIMIT
    )
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert_adds_up(lines[-1])
    return lines, truth_in(done.stderr)


def counts(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {line["func"]: line["calls"] for line in lines if line["type"] == "latency"}


@pytest.mark.parametrize("go", VERSIONS)
def test_handlers_by_default(build: Build, go: str) -> None:
    """Without -f, `latency` takes the handlers, all and nothing else, and says so."""
    lines, truth = latencies("--", str(build("webapp", go)))
    assert {name: truth[name]["calls"] for name in HANDLERS} == counts(lines)
    (said,) = [line for line in lines if line["type"] == "issue" and line["kind"] == "default"]
    assert ("@handlers", True) == (said["func"], "-f" in said["message"])


def test_the_module_where_there_are_no_handlers(build: Build) -> None:
    """Without -f and handlers, `latency` takes the program's own module."""
    lines, truth = latencies("--", str(build("recursion", "1.24")))
    seen = counts(lines)
    assert truth
    assert {name: count["calls"] for name, count in truth.items()} == {name: seen[name] for name in truth}
    assert ["@module"] == [line["func"] for line in lines if line.get("kind") == "default"]


@pytest.mark.parametrize("way", ["plain", "stripped"])
@pytest.mark.parametrize("go", VERSIONS)
def test_queries_and_requests(build: Build, go: str, way: str) -> None:
    """@sql and @http-client count what the program asked, stripped or not."""
    program = build("webapp", go, stripped=way == "stripped")
    lines, truth = latencies("-f", "@sql", "-f", "@http-client", "--", str(program))
    names = {name for name in truth if name.startswith(("database/sql", "net/http"))}
    assert {name: truth[name]["calls"] for name in names} == counts(lines)


@contextmanager
def waiting(*programs: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that have begun and wait for a line."""
    environment = os.environ | {"UNDERGO_WAIT": "1"}
    running = []
    try:
        for program in programs:
            running.append(
                subprocess.Popen(
                    [program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            assert running[-1].stdout is not None
            assert "READY\n" == running[-1].stdout.readline()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def let_go(running: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Lets programs run to their ends at the same time; what each said."""
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=LIMIT)[0] for process in running]
    assert [0] * len(running) == [process.returncode for process in running]
    return said


@contextmanager
def tracing(*arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """An undergo that is attached, and its first line."""
    with subprocess.Popen(undergo(*arguments), stdout=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stdout is not None
            yield json.loads(tracer.stdout.readline()), tracer
        finally:
            tracer.kill()


def rest(tracer: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """All other lines, once it has ended."""
    out, _ = tracer.communicate(timeout=LIMIT)
    assert 0 == tracer.returncode
    lines = [json.loads(text) for text in out.splitlines()]
    assert_adds_up(lines[-1])
    return lines


def test_two_programs_of_one_file(build: Build, tmp_path: Path) -> None:
    """Each of three processes has its own counts, by the patterns of its entry; calls come in one stream."""
    web, methods = build("webapp", "1.27"), build("methods", "1.21")
    config = tmp_path / "two.yaml"
    with waiting(web, web, methods) as running:
        first, second, third = (process.pid for process in running)
        config.write_text(
            f"""
options: {{json: true}}
sets: {{some: ['main.plain', '@sql']}}
binaries:
  - path: {web}
    pid: [{first}, {second}]
    functions: '@some'
  - pid: {third}
    functions: ['main.*']
"""
        )
        with tracing("latency", "-c", str(config)) as (session, tracer):
            of_pid = {target["pid"]: target["exe"] for target in session["targets"]}
            assert {first: str(web), second: str(web), third: str(methods)} == of_pid
            truths = dict(zip((first, second, third), map(truth_in, let_go(running)), strict=True))
            lines = rest(tracer)
    seen = {(line["pid"], line["func"]): line["calls"] for line in lines if line["type"] == "latency"}
    calls = Counter((line["pid"], line["func"]) for line in lines if line["type"] == "call")
    assert {first, second, third} == {pid for pid, _ in seen}
    for pid, truth in truths.items():
        names = [name for name in truth if pid == third or name.startswith(("database", "main.plain"))]
        assert names
        for name in names:
            assert truth[name]["calls"] == seen.get((pid, name), 0)
            assert truth[name]["calls"] == calls[pid, name]
    assert not any(func.startswith("main.(*server)") for pid, func in seen if pid != third)


def test_a_table_for_each_program_and_one_timeline(build: Build, tmp_path: Path) -> None:
    """For people: a heading and a table per program, then the calls of all of them in the order of their starts."""
    web, recursion = build("webapp", "1.24"), build("recursion", "1.24")
    config = tmp_path / "two.yaml"
    with waiting(web, recursion) as running:
        config.write_text(
            f"binaries: [{{pid: {running[0].pid}}}, {{pid: {running[1].pid}, functions: main.main}}]"
        )
        line = undergo("latency", "-c", str(config))
        environment = os.environ | {"COLUMNS": "140"}
        with subprocess.Popen(
            line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as tracer:
            assert tracer.stderr is not None
            while not tracer.stderr.readline().startswith("tracing"):
                assert tracer.poll() is None
            let_go(running)
            out, _ = tracer.communicate(timeout=LIMIT)
    assert 0 == tracer.returncode
    lines = out.splitlines()
    assert lines.index(f"{web}:") < lines.index(f"{recursion}:")
    (head,) = [number for number, text in enumerate(lines) if text.lstrip().startswith("AFTER")]
    assert lines.index(f"{recursion}:") < head
    assert any(f"webapp/{running[0].pid} g" in text for text in lines[head:])
    assert all(len(text) <= 140 for text in lines[head:])


@pytest.mark.parametrize("go", ["1.19", "1.27"])
def test_goids_of_two_processes_never_mix(build: Build, go: str) -> None:
    """Two processes of one executable have the same goids, and births, wakers and states of their own."""
    program = build("lifecycle", go)
    with tracing("states", "--json", "-e", str(program)) as (session, tracer):
        assert [None] == [target["pid"] for target in session["targets"]]
        with waiting(program, program) as running:
            said = let_go(running)
        tracer.send_signal(signal.SIGINT)
        lines = rest(tracer)
    shared: list[set[int]] = []
    for process, text in zip(running, said, strict=True):
        lives = {life["Goid"]: life for life in json.loads(text.partition("LIVES ")[2])}
        own = [line for line in lines if line["type"] == "state" and line["pid"] == process.pid]
        shared.append({line["goid"] for line in own})
        born = {line["goid"]: line["parent_goid"] for line in own if "parent_goid" in line}
        assert {goid: life["Parent"] for goid, life in lives.items()} == {goid: born[goid] for goid in lives}
        ended: dict[int, str] = {}
        for line in own:
            assert ended.get(line["goid"], line["from"]) == line["from"], line
            ended[line["goid"]] = line["to"]
    assert len(shared[0] & shared[1]) > 10


def test_stale_addresses_are_refused(build: Build, tmp_path: Path) -> None:
    """A file written for one build does not trace another, and says what is right; written again, it does."""
    config = tmp_path / "undergo.yaml"
    program = tmp_path / "recursion"
    program.write_bytes(build("recursion", "1.21").read_bytes())
    program.chmod(0o755)
    write = undergo("config", "-e", str(program), "-f", "main.*", "-o", str(config))
    subprocess.run(write, check=True, capture_output=True, timeout=LIMIT)
    program.unlink()
    program.write_bytes(build("recursion", "1.24").read_bytes())
    program.chmod(0o755)
    trace = undergo("latency", "-c", str(config), "--duration", "100ms")
    done = subprocess.run(trace, capture_output=True, text=True, timeout=LIMIT)
    assert (2, True) == (done.returncode, "another build" in done.stderr)
    without = "\n".join(line for line in config.read_text().splitlines() if "build_id" not in line)
    config.write_text(without)
    done = subprocess.run(trace, capture_output=True, text=True, timeout=LIMIT)
    assert 2 == done.returncode
    assert f"{config}:" in done.stderr
    assert "begins at 0x" in done.stderr or "returns at 0x" in done.stderr
    again = subprocess.run(
        undergo("config", "-e", str(program), "-o", str(config)),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert "moved from" in again.stderr
    assert 0 == subprocess.run(trace, capture_output=True, timeout=LIMIT).returncode
