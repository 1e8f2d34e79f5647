"""A launched command waits for its release, runs untouched, and its end is passed on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from undergo.errors import NotElfError, PermissionDeniedError, ProcessError, UndergoError, UsageError
from undergo.target.identity import identity_of
from undergo.target.launch import LaunchedCommand

SOURCE = str(Path(__file__).parents[3] / "src")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that plays undergo, with its own stdin, stdout and stderr."""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        check=False, capture_output=True, text=True, env=environment, timeout=60, input="typed",
    )  # fmt: skip


def test_it_runs_only_after_release(tmp_path: Path) -> None:
    """Nothing of the command has happened while the child is held; after release it has run."""
    mark = tmp_path / "mark"
    with LaunchedCommand(["/bin/sh", "-c", f"echo $$ > {mark}"]) as command:
        assert not select.select([command], [], [], 0)[0]
        assert not mark.exists()
        command.release()
        assert command.wait(60) == 0
        assert mark.read_text() == f"{command.pid}\n"


def test_closing_without_release_runs_nothing(tmp_path: Path) -> None:
    """A held child that is given up ends without executing the command."""
    mark = tmp_path / "mark"
    command = LaunchedCommand(["/bin/sh", "-c", f"touch {mark}"])
    command.close()
    command.close()
    assert command.returncode == -signal.SIGKILL
    assert not mark.exists()


def test_death_of_undergo_ends_the_held_child(tmp_path: Path) -> None:
    """If undergo is killed before release, the child exits and the command never runs."""
    mark, alive = tmp_path / "mark", tmp_path / "alive"
    os.mkfifo(alive)
    script = (
        "import os, signal, sys\n"
        "from undergo.target.launch import LaunchedCommand\n"
        "command = LaunchedCommand(['/bin/sh', '-c', 'touch ' + sys.argv[1]])\n"
        "print(command.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The child inherits the pipe of stdout: its end of file, which run() awaits, is the end of the child too.
    result = run(script, str(mark))
    assert result.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{int(result.stdout)}/exe").exists()
    assert not mark.exists()


def test_death_of_undergo_after_release_leaves_the_command(tmp_path: Path) -> None:
    """Once released, the command goes on when undergo is killed."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = (
        "import os, signal, sys\n"
        "from undergo.target.launch import LaunchedCommand\n"
        "command = LaunchedCommand(['/bin/cat', sys.argv[1]])\n"
        "command.release()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(fifo)], stdout=subprocess.PIPE, env=environment
    ) as undergo:
        assert undergo.wait(60) == -signal.SIGKILL
        fifo.write_text("lives")  # blocks until the command opens its end
        assert undergo.stdout is not None
        assert undergo.stdout.read() == b"lives"


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", -15)])
def test_return_code(script: str, code: int) -> None:
    """The return code is the exit status, or minus the signal."""
    with LaunchedCommand(["/bin/sh", "-c", script]) as command:
        assert command.returncode is None
        command.release()
        assert command.wait() == code
        assert command.returncode == code
    assert command.returncode == code


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -TERM $$", -15), ("kill -SEGV $$", -11)])
def test_end_like(script: str, code: int) -> None:
    """undergo ends as its command did."""
    text = (
        "import sys\nfrom undergo.target.launch import LaunchedCommand, end_like\n"
        "command = LaunchedCommand(['/bin/sh', '-c', sys.argv[1]])\ncommand.release()\nend_like(command.wait())\n"
    )
    assert run(text, script).returncode == code


def test_streams() -> None:
    """stdin, stdout and stderr are the child's own; on request its stdout goes to stderr."""
    text = (
        "import sys\nfrom undergo.target.launch import LaunchedCommand\n"
        "command = LaunchedCommand(['/bin/sh', '-c', 'cat; echo E >&2'], stdout_to_stderr=len(sys.argv) > 1)\n"
        "command.release()\ncommand.wait()\n"
    )
    plain, moved = run(text), run(text, "x")
    assert (plain.stdout, plain.stderr) == ("typed", "E\n")
    assert (moved.stdout, moved.stderr) == ("", "typedE\n")


def test_no_descriptor_leaks_and_signals_are_default() -> None:
    """The command inherits 0, 1, 2 and nothing else, blocks nothing, ignores nothing, and is in our group."""
    text = (
        "import os, signal, sys\nfrom undergo.target.launch import LaunchedCommand\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "print(os.getpgrp(), os.getsid(0), flush=True)\n"
        "command = LaunchedCommand(['/bin/sh', '-c', 'ls /proc/self/fd; cut -d\" \" -f5,6 /proc/self/stat;"
        " cat /proc/self/status'])\ncommand.release()\ncommand.wait()\n"
    )
    words = run(text).stdout.split()
    assert words[2:6] == ["0", "1", "2", "3"]  # 3 is ls's own, open on the directory
    assert words[6:8] == words[:2]
    status = dict(pairwise(words))
    # Signals 32 and 33 are glibc's own; what its posix_spawn starts (all that make runs) ignores them.
    own = 0b11 << 31
    assert [int(status[key], 16) & ~own for key in ("SigBlk:", "SigIgn:", "SigCgt:")] == [0] * 3


def test_ignored_signals_stay_ignored() -> None:
    """What our caller ignores, as nohup does SIGHUP, the command ignores too."""
    text = (
        "import signal\nfrom undergo.target.launch import LaunchedCommand\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "c = LaunchedCommand(['/bin/sh', '-c', 'kill -HUP $$; echo lives'])\nc.release()\nc.wait()\n"
    )
    assert run(text).stdout == "lives\n"


def test_what_cannot_be_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that cannot run is refused before anything is forked, in words that fit it."""
    script, data, plain = tmp_path / "run.sh", tmp_path / "data", tmp_path / "plain"
    script.write_text("#!/bin/sh -e\n")
    data.write_text("PNG")
    plain.write_text("x")
    script.chmod(0o755)
    data.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}")
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    cases: list[tuple[list[str], type[UndergoError], str]] = [
        ([], UsageError, "there is no command after --"),
        ([""], UsageError, "the command after -- is empty"),
        (["nowhere"], UsageError, "there is no command nowhere in PATH"),
        (["./nowhere"], UsageError, "there is no file ./nowhere"),
        ([str(tmp_path)], UsageError, f"{tmp_path} is a directory"),
        ([str(plain)], UsageError, f"{plain} is not executable"),
        (["plain"], UsageError, f"no executable command plain in PATH ({plain} is not executable)"),
        (["run.sh"], NotElfError, f"{script} is a script (/bin/sh -e), not a Go executable"),
        ([str(data)], NotElfError, f"{data} is not an ELF executable"),
    ]
    for command, kind, message in cases:
        with pytest.raises(kind) as caught:
            LaunchedCommand(command)
        assert (command, caught.value.message) == (command, message)


def test_kernel_refuses_it(tmp_path: Path) -> None:
    """A file that only the kernel can tell is no program fails at release, with the kernel's words."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF" + bytes(100))
    broken.chmod(0o755)
    with LaunchedCommand([str(broken)]) as command:
        with pytest.raises(UndergoError) as caught:
            command.release()
        assert caught.value.message == f"cannot execute {broken}: exec format error"
        assert command.wait() == 127


def test_killed_while_held() -> None:
    """A child killed before its release is reported, not mistaken for a command that ran."""
    with LaunchedCommand(["/bin/sh", "-c", "exit 0"]) as command:
        os.kill(command.pid, signal.SIGTERM)
        with pytest.raises(ProcessError, match="ended by SIGTERM before it began"):
            command.release()


def test_interrupt_is_passed_on() -> None:
    """Without a terminal in the foreground a signal to undergo alone reaches the command."""
    text = (
        "import os, signal\nfrom undergo.target.launch import LaunchedCommand\nos.setsid()\n"
        "c = LaunchedCommand(['/bin/sleep', '1000'])\nc.release()\n"
        "print(c.interrupt(), c.wait(), c.interrupt())\n"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    # start_new_session would make setsid fail: the script itself leaves our terminal.
    result = subprocess.run(
        [sys.executable, "-c", text], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert result.stdout == "True -2 False\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_under_sudo_it_runs_as_the_invoking_user(tmp_path: Path) -> None:
    """With sudo's variables the command has the user's ids and home; with as_root it stays root."""
    show = 'id -u; id -g; id -G; echo "$HOME $USER"'
    text = (
        "import sys\nfrom undergo.target.launch import LaunchedCommand\n"
        "env = {'PATH': '/usr/bin:/bin', 'SUDO_UID': '65534', 'SUDO_GID': '65534', 'SUDO_USER': 'nobody'}\n"
        "env['HOME'] = '/root'\n"
        "c = LaunchedCommand(['/bin/sh', '-c', sys.argv[1]], environment=env, as_root=len(sys.argv) > 2)\n"
        "c.release()\nc.wait()\n"
    )
    import pwd

    user = pwd.getpwuid(65534)
    mine = run(text, show).stdout.split("\n")
    assert mine[:4] == ["65534", "65534", "65534", f"{user.pw_dir} {user.pw_name}"]
    assert run(text, show, "root").stdout.split("\n")[:2] == ["0", "0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_the_invoking_user_may_not_execute(tmp_path: Path) -> None:
    """What root may execute and the user behind sudo may not is refused before it is released."""
    import shutil

    program = tmp_path / "program"
    shutil.copy("/bin/true", program)
    program.chmod(0o700)
    environment = {"SUDO_UID": "65534", "SUDO_GID": "65534"}
    with pytest.raises(PermissionDeniedError, match="permission denied"):
        LaunchedCommand([str(program)], environment=environment)


def test_identity_is_the_file_that_runs() -> None:
    """The identity known before the release is that of /proc/PID/exe after it."""
    with LaunchedCommand(["sleep", "1000"]) as command:
        assert identity_of(f"/proc/{command.pid}/exe") == identity_of(sys.executable)
        command.release()
        assert identity_of(f"/proc/{command.pid}/exe") == command.identity
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
