"""Bad input gets one clear line with what to do, and the documented exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Build

LIMIT = 60


def undergo(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "undergo.cli.main", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line that says what is wrong, at most one with what to do, nothing on stdout, no traceback."""
    assert code == done.returncode, done.stderr
    assert "" == done.stdout
    lines = done.stderr.splitlines()
    assert lines[0].startswith("undergo: ")
    assert len(lines) <= 2
    for word in words:
        assert word in done.stderr


def test_what_is_repeated_of_it_is_escaped(tmp_path: Path) -> None:
    """Names and arguments, whatever bytes they have, do nothing to the terminal."""
    hostile = "x\x1b[31m\n\udcff"
    for line in (("list", "-e", str(tmp_path / hostile)), ("report", hostile), ("latency", "-p", hostile)):
        done = undergo(*line)
        assert_refused(done, done.returncode, r"x\x1b[31m\n\udcff")
        assert done.stderr.replace("\n", "").isprintable() and done.returncode in (2, 3)


def test_a_file_that_is_not_elf(tmp_path: Path) -> None:
    """Text is refused as no ELF file."""
    path = tmp_path / "notes"
    path.write_text("hello")
    assert_refused(undergo("list", "-e", str(path)), 3, "notes", "ELF")


def test_a_program_that_is_not_go() -> None:
    """A C program is refused as not built by Go."""
    assert_refused(undergo("inspect", "-e", "/bin/true"), 3, "/bin/true", "Go")


def test_a_missing_file() -> None:
    """A path that does not exist is named."""
    assert_refused(undergo("inspect", "-e", "/nonexistent"), 3, "/nonexistent")


def test_a_directory(tmp_path: Path) -> None:
    """A directory is no executable."""
    assert_refused(undergo("inspect", "-e", str(tmp_path)), 3, str(tmp_path))


def test_a_truncated_executable(build: Build, tmp_path: Path) -> None:
    """Half a Go executable is refused, whatever half of its tables is missing."""
    whole = build("crash", "1.24").read_bytes()
    path = tmp_path / "half"
    for part in (2, 3, 5, 50):
        path.write_bytes(whole[: len(whole) // part])
        assert_refused(undergo("list", "-e", str(path)), 3, "half")


def test_an_executable_for_another_machine(build: Build, tmp_path: Path) -> None:
    """An executable of a foreign architecture is refused by name."""
    raw = bytearray(build("crash", "1.24").read_bytes())
    raw[18:20] = (243).to_bytes(2, "little")  # EM_RISCV
    path = tmp_path / "riscv"
    path.write_bytes(raw)
    assert_refused(undergo("trace", "-e", str(path), "-f", "main.*", "--dry-run"), 3, "riscv")


def test_no_such_process() -> None:
    """A pid that nobody has."""
    assert_refused(undergo("latency", "-p", "4194300", "-f", "main.*"), 3, "4194300")


def test_a_process_that_is_not_go() -> None:
    """The test's own Python is no Go program."""
    assert_refused(undergo("latency", "-p", str(os.getpid()), "-f", "main.*"), 3, "Go")


def test_a_pattern_that_matches_nothing_offers_near_misses(build: Build) -> None:
    """A misspelt function is answered with the right name."""
    path = str(build("recursion", "1.24"))
    assert_refused(undergo("trace", "-e", path, "-f", "main.fakt", "--dry-run"), 2, "main.fakt", "main.fact")


def test_a_broken_regular_expression(build: Build) -> None:
    """What is wrong with it is said."""
    path = str(build("recursion", "1.24"))
    assert_refused(undergo("trace", "-e", path, "-f", "/(/", "--dry-run"), 2, "/(/", "regular expression")


def test_more_probes_than_allowed(build: Build) -> None:
    """The number that would be needed is said, and how to allow it."""
    path = str(build("recursion", "1.24"))
    done = undergo("trace", "-e", path, "-f", "*", "--max-probes", "10", "--dry-run")
    assert_refused(done, 2, "--max-probes", "10")


@pytest.mark.parametrize("arguments", [[], ["-p", "1", "-e", "/bin/true"]])
def test_one_target_is_needed(arguments: list[str]) -> None:
    """None, or two ways of naming one, is a usage error."""
    assert_refused(undergo("trace", *arguments, "-f", "main.*"), 2, "-p")


def test_functions_are_needed(build: Build) -> None:
    """Without -f nothing is guessed."""
    assert_refused(undergo("trace", "-e", str(build("recursion", "1.24"))), 2, "-f")


def test_a_command_that_does_not_exist() -> None:
    """What cannot be run is said before anything is attached."""
    assert_refused(undergo("trace", "-f", "main.*", "--", "/nonexistent/server"), 2, "/nonexistent/server")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_user_without_rights_is_told(build: Build) -> None:
    """Without rights to load programs: exit 4, and sudo is suggested."""
    path = build("recursion", "1.24")
    line = [sys.executable, "-m", "undergo.cli.main", "latency", "-e", str(path), "-f", "main.*"]
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *line],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert_refused(done, 4, "sudo")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trace", "--slow", "soon"), ("--slow", "soon is no duration", "undergo trace --help")),
        (("trace", "--nope"), ("--nope", "undergo trace --help")),
        (("latency", "--max-keys", "0"), ("--max-keys", "1<=x<=250")),
        (("states", "--state", "sleepy"), ("sleepy", "runnable")),
        (("nope",), ("nope", "undergo --help")),
        (("config",), ("-e", "undergo config --help")),
    ],
)
def test_options_that_cannot_be(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """What the command line says wrong is told like everything else, with where to look."""
    assert_refused(undergo(*arguments), 2, *words)


@pytest.mark.parametrize("address", ["9464", ":x", ":70000", "[::1:9464", "a b:9464", ""])
def test_an_address_that_is_none(address: str) -> None:
    """How to write one is said."""
    assert_refused(undergo("latency", "-p", "1", "--prometheus", address), 2, "ADDR:PORT", ":9464")


def test_a_port_that_is_taken() -> None:
    """Before anything is looked at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f":{taken.getsockname()[1]}"
        assert_refused(undergo("latency", "-p", "1", "--prometheus", at), 2, at, "in use")


def test_prometheus_without_its_package(tmp_path: Path) -> None:
    """What to install is said."""
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    line = [sys.executable, "-m", "undergo.cli.main", "latency", "-p", "1", "--prometheus", ":0"]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=LIMIT, env=os.environ | {"PYTHONPATH": path}
    )
    assert_refused(done, 2, "prometheus-client", "pip install 'undergo[prometheus]'")


def test_no_arguments_at_all() -> None:
    """They show the help, with examples."""
    done = undergo()
    assert (2, True) == (done.returncode, "Examples:" in done.stdout + done.stderr)
