"""Beginning and ending: the target goes on unharmed, and nothing stays attached, however undergo ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Build
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo


@contextmanager
def busy(program: Path) -> Iterator[subprocess.Popen[str]]:
    """The `attach` program, at work."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "READY\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def finish(process: subprocess.Popen[str]) -> dict[str, dict[str, int]]:
    """Lets the program end by itself; its account."""
    out, _ = process.communicate("\n", timeout=LIMIT)
    assert 0 == process.returncode
    return truth_in(out)


@pytest.fixture(params=["1.19", "1.27"])
def program(request: pytest.FixtureRequest, build: Build) -> Path:
    return build("attach", request.param)


def test_attach_and_detach_under_load(program: Path) -> None:
    """Traced ten times over while at work, the program never fails and each account adds up."""
    with busy(program) as process:
        for command in ["latency", "trace"] * 5:
            line = undergo(command, "--json", "-p", str(process.pid), "-f", "main.*", "--duration", "200ms")
            done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
            assert 0 == done.returncode, done.stderr
            ledger = json.loads(done.stdout.splitlines()[-1])
            assert ledger["hits"] > 0
            assert_adds_up(ledger)
        truth = finish(process)
        assert truth["main.outer"]["calls"] == truth["main.outer"]["returns"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_the_summary(program: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end cleanly: the summary is printed, the ledger last, the exit code 0."""
    with busy(program) as process:
        line = undergo("trace", "--json", "-p", str(process.pid), "-f", "main.outer")
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as tracer:
            assert tracer.stdout is not None
            for text in tracer.stdout:
                if json.loads(text)["type"] == "call":
                    break
            tracer.send_signal(number)
            rest = tracer.stdout.read().splitlines()
            assert 0 == tracer.wait(LIMIT)
        assert_adds_up(json.loads(rest[-1]))
        finish(process)


def test_killed_undergo_leaves_the_target_unharmed(program: Path) -> None:
    """After a SIGKILL of undergo the kernel takes the probes out and the program goes on to its end."""
    with busy(program) as process:
        line = undergo("trace", "--json", "-p", str(process.pid), "-f", "main.*")
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as tracer:
            assert tracer.stdout is not None
            while json.loads(tracer.stdout.readline())["type"] != "call":
                pass
            tracer.kill()
            assert -signal.SIGKILL == tracer.wait(LIMIT)
        finish(process)


def test_the_end_of_the_target_ends_tracing(program: Path) -> None:
    """When the traced process is killed, undergo stops by itself and its account adds up."""
    with busy(program) as process:
        line = undergo("latency", "--json", "-p", str(process.pid), "-f", "main.*")
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as tracer:
            assert tracer.stdout is not None
            assert "session" == json.loads(tracer.stdout.readline())["type"]
            process.kill()
            rest = tracer.stdout.read().splitlines()
            assert 0 == tracer.wait(LIMIT)
        assert_adds_up(json.loads(rest[-1]))


def test_the_status_of_a_command_is_passed_on(program: Path) -> None:
    """`undergo -- COMMAND` exits as the command does."""
    line = undergo("latency", "--json", "-f", "main.*", "--", str(program))
    done = subprocess.run(line, input="\n", capture_output=True, text=True, timeout=LIMIT)
    assert 0 == done.returncode
    assert "READY" in done.stderr


def test_processes_nobody_asked_about_are_filtered(program: Path) -> None:
    """-p traces that process alone; hits of another one of the same executable are counted as filtered."""
    with busy(program) as wanted, busy(program) as other:
        line = undergo("trace", "--json", "-p", str(wanted.pid), "-f", "main.outer", "--max-calls", "50")
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        calls = [row for row in lines if row["type"] == "call"]
        assert {wanted.pid} == {row["pid"] for row in calls}
        assert len(calls) == lines[-1]["delivered"]
        assert_adds_up(lines[-1])
        assert lines[-1]["filtered"] > 0
        finish(wanted)
        finish(other)


def test_an_executable_replaced_on_disk_is_traced_as_it_runs(program: Path, tmp_path: Path) -> None:
    """The probes go into the file that runs, not into what has its name now."""
    copy = tmp_path / "attach"
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o755)
    with busy(copy) as process:
        copy.unlink()
        copy.write_text("something else")
        line = undergo("latency", "--json", "-p", str(process.pid), "-f", "main.outer", "--duration", "300ms")
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
        assert 0 == done.returncode, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["hits"] > 0
        finish(process)


def test_min_duration_shows_slow_calls_and_their_callers(build: Build) -> None:
    """Calls that were too short are counted as filtered, and the others lasted as long as asked."""
    line = undergo(
        "trace", "--json", "-f", "main.*", "--min-duration", "90us", "--", str(build("migrate", "1.24"))
    )
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    shown = [row for row in lines if row["type"] == "call"]
    assert shown
    assert all(row["wall_ns"] >= 90_000 for row in shown if row["end"] != "open")
    assert truth_in(done.stderr)["main.nap"]["calls"] == sum(row["func"] == "main.nap" for row in shown)
    assert lines[-1]["filtered"] > 0
    assert_adds_up(lines[-1])


def test_full_tables_lose_times_never_counts(build: Build) -> None:
    """With room for 16 goroutines the losses are named, and every hit is still accounted for."""
    line = undergo(
        "latency",
        "--json",
        "--max-goroutines",
        "16",
        "-f",
        "main.stuck",
        "--",
        str(build("noreturn", "1.24")),
    )
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    ledger = json.loads(done.stdout.splitlines()[-1])
    assert 20 == ledger["hits"]
    assert {"goroutines full"} == set(ledger["dropped"])
    assert 20 == ledger["aggregated"] + sum(ledger["dropped"].values())


def test_nothing_stays_attached() -> None:
    """No process that these tests started, or left behind, still holds a link."""
    ours = [pid for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) in (1, os.getpid())]
    assert [] == [link for pid in ours for link in _links(pid)]


def _parent(pid: str) -> int:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _links(pid: str) -> list[str]:
    try:
        folder = Path("/proc", pid, "fd")
        return [f"{pid}:{fd.name}" for fd in folder.iterdir() if "bpf_link" in os.readlink(fd)]
    except OSError:
        return []


def test_depth_limits_the_levels_shown(build: Build) -> None:
    """--depth 1 delivers root calls only and counts all others as filtered."""
    line = undergo(
        "trace", "--json", "-f", "main.fact", "--depth", "1", "--", str(build("recursion", "1.27"))
    )
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert [0] * 50 == [row["depth"] for row in lines if row["type"] == "call"]
    assert truth_in(done.stderr)["main.fact"]["calls"] - 50 == lines[-1]["filtered"]
    assert_adds_up(lines[-1])


def test_goid_limits_to_goroutines(program: Path) -> None:
    """--goid shows the calls of that goroutine alone; hits of others are filtered."""
    with busy(program) as process:
        line = undergo("trace", "--json", "-p", str(process.pid), "-f", "main.outer", "--max-calls", "40")
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
        seen = {row["goid"] for row in map(json.loads, done.stdout.splitlines()) if row["type"] == "call"}
        assert 4 == len(seen)
        wanted = min(seen)
        done = subprocess.run([*line, "--goid", str(wanted)], capture_output=True, text=True, timeout=LIMIT)
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        assert {wanted} == {row["goid"] for row in lines if row["type"] == "call"}
        assert lines[-1]["filtered"] > 0
        assert_adds_up(lines[-1])
        finish(process)


@pytest.mark.parametrize("go", ["1.19", "1.21", "1.24", "1.27"])
def test_every_function_at_once(build: Build, go: str) -> None:
    """With a probe in every traceable function, the runtime's too, the program lives and nothing is lost."""
    with busy(build("attach", go)) as process:
        line = undergo("latency", "--json", "-p", str(process.pid), "-f", "*", "--duration", "1s")
        done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT)
        assert 0 == done.returncode, done.stderr
        ledger = json.loads(done.stdout.splitlines()[-1])
        assert ledger["hits"] > 1000
        assert_adds_up(ledger)
        finish(process)
