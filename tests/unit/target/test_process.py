"""Processes are found by pid and by executable, and what is not one is refused in clear words."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from undergo.errors import ProcessError, TargetError
from undergo.target.end import ProcessEnd
from undergo.target.identity import identity_of
from undergo.target.process import find_process, processes_of


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of an executable that nobody else runs."""
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([str(program), "1000"])  # returns after the exec
    yield process
    process.kill()
    process.wait()


def test_finds_a_process(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A live process is known by pid, path and the inode of its executable."""
    process = find_process(sleeper.pid)
    assert process.exe == f"/proc/{sleeper.pid}/exe"
    assert process.path == process.shown == str(tmp_path / "program")
    assert process.identity == identity_of(tmp_path / "program")
    assert (process.deleted, process.foreign) == (False, False)
    assert process.start_time > 0


def test_replaced_on_disk(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A running file that was replaced keeps its own identity and bytes, and that is said."""
    program = tmp_path / "program"
    old, bytes_before = identity_of(program), program.read_bytes()
    (tmp_path / "new").write_bytes(b"another build")
    (tmp_path / "new").rename(program)
    process = find_process(sleeper.pid)
    assert process.deleted
    assert process.shown == f"{program} (replaced on disk, traced as it runs)"
    assert process.identity == old != identity_of(program)
    with open(process.open_executable(), "rb") as file:
        assert file.read() == bytes_before
    assert [p.pid for p in processes_of(old)] == [sleeper.pid]


def test_a_file_really_called_deleted(tmp_path: Path) -> None:
    """A name that ends in " (deleted)" is not taken for the kernel's mark."""
    program = tmp_path / "x (deleted)"
    shutil.copy("/bin/sleep", program)
    child = subprocess.Popen([str(program), "1000"])
    try:
        process = find_process(child.pid)
        assert (process.path, process.deleted) == (str(program), False)
    finally:
        child.kill()
        child.wait()


def test_all_processes_of_an_executable(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Every process of the inode is found, through hard links too, and no other."""
    os.link(tmp_path / "program", tmp_path / "link")
    second = subprocess.Popen([str(tmp_path / "link"), "1000"])
    try:
        found = processes_of(identity_of(tmp_path / "program"))
        assert [p.pid for p in found] == sorted([sleeper.pid, second.pid])
    finally:
        second.kill()
        second.wait()
    assert [p.pid for p in processes_of(identity_of(tmp_path / "program"))] == [sleeper.pid]


@pytest.mark.parametrize("pid", [0, -1, 1 << 22 | 1, 1 << 80])
def test_not_a_process_id(pid: int) -> None:
    """Numbers that are no process ids are refused."""
    with pytest.raises(ProcessError, match=f"^{pid} is not a process id$"):
        find_process(pid)


def test_no_such_process() -> None:
    """A pid that was waited for is no process."""
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    with pytest.raises(ProcessError, match=f"^there is no process {child.pid}$"):
        find_process(child.pid)


def test_zombie() -> None:
    """A process that ended and was not waited for is called a zombie."""
    child = subprocess.Popen(["/bin/true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError, match="is a zombie"):
            find_process(child.pid)
    finally:
        child.wait()


def test_thread_names_its_process() -> None:
    """The id of a thread is refused with the process to name instead."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(ProcessError) as caught:
            find_process(thread.native_id or 0)
        assert caught.value.message == f"{thread.native_id} is a thread of process {os.getpid()}"
        assert caught.value.hint == f"use -p {os.getpid()}"
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(not Path("/proc/2/comm").exists(), reason="no kernel threads are visible here")
def test_kernel_thread() -> None:
    """kthreadd has no executable, and that is said."""
    if Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("pid 2 is not kthreadd here")
    with pytest.raises(ProcessError, match=r"^2 is a kernel thread"):
        find_process(2)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_users_process(sleeper: subprocess.Popen[bytes]) -> None:
    """Without the right to look at a process, that is the error, not that there is none."""
    text = (
        "import os, sys\nfrom undergo.errors import PermissionDeniedError\n"
        "from undergo.target.process import find_process\n"
        "os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "try:\n find_process(int(sys.argv[1]))\nexcept PermissionDeniedError as e:\n print(e, '|', e.hint)\n"
    )
    source = str(Path(__file__).parents[3] / "src")
    result = subprocess.run(
        [sys.executable, "-c", text, str(sleeper.pid)],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": source}, timeout=60,
    )  # fmt: skip
    assert result.stdout == f"may not read the executable of process {sleeper.pid} | run undergo as root\n"


def test_end_of_a_process(sleeper: subprocess.Popen[bytes]) -> None:
    """The end becomes readable when the process ends, not before."""
    with ProcessEnd(find_process(sleeper.pid)) as end:
        assert not end.wait(0)
        sleeper.send_signal(signal.SIGKILL)
        assert end.wait(60)
    end.close()


def test_end_of_one_that_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that ended before its end could be watched is an error."""
    process = find_process(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(ProcessError):
        ProcessEnd(process)
    with pytest.raises(ProcessError):
        process.open_executable()


def test_identity_of_what_is_no_file(tmp_path: Path) -> None:
    """-e of a directory or of nothing is a TargetError with one line."""
    with pytest.raises(TargetError, match=r"no such file or directory$"):
        identity_of(tmp_path / "none")
    with pytest.raises(TargetError, match=r": not a regular file$"):
        identity_of(tmp_path)
    with pytest.raises(TargetError, match=r": not a file name$"):
        identity_of("a\0b")
