"""Starting a command that waits, before its first instruction, until its probes are in place.

The child is forked, drops root if sudo gave it, says it is ready, and blocks on a pipe; `release()` lets it
execute the command under the same pid. If undergo dies first, however it dies, the pipe closes and the child
exits without having run anything. (`subprocess` cannot do this: it returns only after the exec.)

**Ctrl-C.** The child stays in our process group, session and terminal, as under strace and perf, so the
terminal sends SIGINT to both. perf then sends the child SIGTERM and strace kills it with the signal once
more; but many Go programs begin a graceful shutdown at the first signal and give it up at the second. So we
send nothing a terminal has already sent: undergo detaches, waits for the child to end in its own way and
passes its status on; a second Ctrl-C ends undergo at once and reaches the child too. A signal that only
undergo got (`kill`, a supervisor) is passed on by `interrupt()`. After a SIGKILL of undergo the child simply
goes on, unprobed, since the kernel removes the probes with their descriptors.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

from undergo.errors import PermissionDeniedError, ProcessError, TargetError, UndergoError, UsageError
from undergo.target.command import resolve_command
from undergo.target.end import ended
from undergo.target.identity import Identity, identity_of
from undergo.target.invoker import Invoker, invoker

# What the child says on its pipe: a step, or "e" and a decimal errno. The end of the pipe after _EXECUTING
# means that the exec succeeded, before it that the child was killed.
_READY, _EXECUTING, _ERROR = b"r", b"x", b"e"
# Ignored by the interpreter itself (Python/pylifecycle.c), not by whoever called us.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class LaunchedCommand:
    """A child process that executes a command when released.

    Create it early: before threads exist, and before descriptors are open that the child would hold while it
    waits. Signals that are ignored when it is created stay ignored in the command, as nohup wants it.
    """

    pid: int  # the same before and after the command is executed
    path: str  # the file that is executed
    identity: Identity

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout_to_stderr: bool = False,
        as_root: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Fork the child and wait until it stands ready; the command itself has not begun.

        `environment` is the command's, ours by default. Raises UsageError if the command cannot be found or
        executed, NotElfError if it is no ELF file, PermissionDeniedError if the invoking user may not execute
        it, ProcessError if there can be no more processes or the child is killed at once.
        """
        if not command:
            raise UsageError("there is no command after --")
        inherited = dict(os.environ if environment is None else environment)
        user = None if as_root else invoker(inherited, os.geteuid())
        if user:
            inherited = user.environment(inherited)
        self.path = resolve_command(command[0], inherited)
        self.identity = identity_of(self.path)
        if any("\0" in word for word in command):
            raise UsageError("an argument of the command holds a NUL byte")
        self._returncode: int | None = None
        self._pidfd = -1
        held, self._go = os.pipe2(os.O_CLOEXEC)
        self._said, say = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = self._fork(list(command), inherited, user, held, say, stdout_to_stderr)
            os.close(held)
            os.close(say)
            self._pidfd = os.pidfd_open(self.pid)
            said = os.read(self._said, 64)
            if said != _READY:
                raise self._failure(said)
        except BaseException:
            self.close()
            raise

    def _fork(
        self,
        argv: list[str],
        environment: dict[str, str],
        user: Invoker | None,
        held: int,
        say: int,
        stdout_to_stderr: bool,
    ) -> int:
        # No handler of ours may run in the child: it would unwind into a copy of undergo.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(self._go)  # else the child would keep its own pipe open
                    _restore_signals(mask)
                    _stage(self.path, argv, environment, user, held, say, stdout_to_stderr)
                except OSError as error:
                    os.write(say, _ERROR + str(error.errno).encode())
                finally:
                    os._exit(127)
            return pid
        except OSError as error:
            os.close(held)
            os.close(say)
            raise ProcessError(f"cannot start a process: {_words(error.errno)}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def release(self) -> None:
        """Let the child execute the command; return once it has. A second call does nothing.

        Raises TargetError if the kernel refuses to execute it, ProcessError if the child was killed while
        it waited.
        """
        if self._go < 0:
            return
        try:
            os.write(self._go, b"g")
        except BrokenPipeError:
            pass  # the child is gone; reading from it says how
        os.close(self._go)
        self._go = -1
        said = b""
        while piece := os.read(self._said, 64):
            said += piece
        if said != _EXECUTING:
            raise self._failure(said.removeprefix(_EXECUTING))

    def _failure(self, said: bytes) -> UndergoError:
        """Why the command was not executed, from the last words of the child."""
        if not said.startswith(_ERROR):
            code = self.wait()
            by = signal.Signals(-code).name if code is not None and code < 0 else "an unknown cause"
            return ProcessError(f"{self.path}: ended by {by} before it began")
        number = int(said[1:])
        message = f"cannot execute {self.path}: {_words(number)}"
        if number in (1, 13):  # EPERM, EACCES
            return PermissionDeniedError(
                message, "under sudo it runs as the user who called sudo; see --as-root"
            )
        return TargetError(message)

    @property
    def returncode(self) -> int | None:
        """Exit status, or minus the signal that ended it, or None while it lives or was let go of."""
        if self._returncode is None and self._pidfd >= 0 and ended(self._pidfd, 0):
            try:
                self._returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # our caller ignores SIGCHLD: the kernel has kept no status
                self._returncode = 0
        return self._returncode

    def fileno(self) -> int:
        """A pidfd: readable once the command has ended."""
        return self._pidfd

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait at most `timeout` seconds for the end; the return code, or None if it still lives."""
        if self._returncode is None and self._pidfd >= 0:
            ended(self._pidfd, timeout)
        return self.returncode

    def interrupt(self, signum: int = signal.SIGINT) -> bool:
        """Pass on a signal that undergo got, unless the terminal has sent it to the child as well.

        Whether it has is inferred: SIGINT and SIGQUIT come from the terminal if our process group is its
        foreground group. Returns whether the signal was sent.
        """
        if self._pidfd < 0 or self.returncode is not None:
            return False
        if signum in (signal.SIGINT, signal.SIGQUIT) and _in_foreground():
            return False
        signal.pidfd_send_signal(self._pidfd, signum)
        return True

    def close(self) -> None:
        """Let go of the child: if it was never released it is ended unused, else it goes on. Idempotent."""
        if self._go >= 0 and self._pidfd >= 0:
            if self.returncode is None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.wait()
        _ = self.returncode  # reaps it if it has ended, and keeps its status
        for name in ("_go", "_said", "_pidfd"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def end_like(returncode: int) -> NoReturn:
    """End undergo as its command ended: with its exit status, or by the same signal (but no second core)."""
    if returncode >= 0:
        raise SystemExit(returncode)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -returncode not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-returncode, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [-returncode])
    os.kill(os.getpid(), -returncode)
    raise SystemExit(128 - returncode)  # reached only as init of a pid namespace, whom no signal ends


def _stage(
    path: str,
    argv: list[str],
    environment: dict[str, str],
    user: Invoker | None,
    held: int,
    say: int,
    stdout_to_stderr: bool,
) -> None:
    """The child, up to its exec. Returns, for it to exit, only if undergo has gone away."""
    if user:
        user.become()
    if not os.access(path, os.X_OK):  # asked as the user it will run as; better now than after attaching
        raise PermissionError(13, "")
    if stdout_to_stderr:
        os.dup2(2, 1)
    os.write(say, _READY)
    if os.read(held, 1):
        os.write(say, _EXECUTING)
        os.execve(path, argv, environment)


def _restore_signals(mask: set[int]) -> None:
    """Defaults for what Python ignores and for what undergo handles; then the mask undergo was given."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) or number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _words(number: int | None) -> str:
    return os.strerror(number or 0).lower()
