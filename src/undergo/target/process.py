"""Running processes, as /proc tells them: each with the executable it runs now, whatever its path says."""

from __future__ import annotations

import os
from dataclasses import dataclass

from undergo.errors import PermissionDeniedError, ProcessError
from undergo.target.identity import Identity

_DELETED = " (deleted)"
_PF_KTHREAD = 0x00200000  # include/linux/sched.h, since 2.6.27
_MAX_PID = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


@dataclass(frozen=True, slots=True)
class Process:
    """A process found in /proc. Its executable is opened through `exe`, never through `path`."""

    pid: int
    exe: str  # "/proc/PID/exe": opens the running file, even if deleted or in another mount namespace
    path: str  # for people; as the process's own mount namespace names it
    deleted: bool  # the file at `path` was removed or replaced since the process started
    identity: Identity
    start_time: int  # clock ticks from boot to its start: tells two processes of one pid apart
    foreign: bool  # lives in another mount namespace than ours, as in a container

    @property
    def shown(self) -> str:
        """The executable's path with what a reader must know about it."""
        notes = ["replaced on disk, traced as it runs"] if self.deleted else []
        if self.foreign:
            notes.append("in another mount namespace")
        return f"{self.path} ({'; '.join(notes)})" if notes else self.path

    def open_executable(self) -> int:
        """A read-only, close-on-exec file descriptor of the executable this process runs.

        Raises ProcessError if the process ended, or has since executed another program, and
        PermissionDeniedError if the file may not be read.
        """
        try:
            fd = os.open(self.exe, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise _denied(self.pid) from None
        except OSError:
            raise _vanished(self.pid) from None
        if (
            Identity.of_stat(os.fstat(fd)) != self.identity
            or _start_time_or_none(self.pid) != self.start_time
        ):
            os.close(fd)
            raise ProcessError(f"process {self.pid} ended or runs another program by now", "try again")
        return fd


def find_process(pid: int) -> Process:
    """The process `pid`.

    Raises ProcessError if there is none, it is a zombie, a kernel thread, a thread of another process, or
    vanishes meanwhile; PermissionDeniedError if its executable may not be read.
    """
    if not 0 < pid <= _MAX_PID:
        raise ProcessError(f"{pid} is not a process id", "process ids are positive, see `ps -e`")
    try:
        stat = _stat_fields(pid)
        tgid = _tgid(pid)
    except OSError:
        raise ProcessError(
            f"there is no process {pid}", "see `ps -e`, or name its executable with -e"
        ) from None
    if tgid != pid:
        raise ProcessError(f"{pid} is a thread of process {tgid}", f"use -p {tgid}")
    state, flags = stat[0], int(stat[6])
    if state in "ZX":
        raise ProcessError(f"process {pid} has ended (it is a zombie)", "its parent has not waited for it")
    if flags & _PF_KTHREAD:
        raise ProcessError(f"{pid} is a kernel thread, not a Go process")
    try:
        return _read(pid, int(stat[19]))
    except PermissionError:
        raise _denied(pid) from None
    except OSError:
        raise _vanished(pid) from None


def processes_of(identity: Identity) -> list[Process]:
    """All processes that run the executable `identity` now, by pid; those we may not look at are left out."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            stat = os.stat(f"/proc/{name}/exe")
            if (stat.st_ino, stat.st_dev) != (identity.ino, identity.dev):
                continue
            found.append(_read(int(name), int(_stat_fields(int(name))[19])))
        except OSError:  # gone meanwhile, a kernel thread, a zombie, or another user's
            continue
    # One that executed something else between the two looks is none of ours.
    return sorted((p for p in found if p.identity == identity), key=lambda p: p.pid)


def _read(pid: int, start_time: int) -> Process:
    exe = f"/proc/{pid}/exe"
    stat = os.stat(exe)
    link = os.readlink(exe)
    # A file may really be called "x (deleted)": the kernel's mark stands only on a file without that name.
    deleted = link.endswith(_DELETED) and stat.st_nlink == 0
    if not deleted and link.endswith(_DELETED):
        deleted = not os.path.lexists(f"/proc/{pid}/root{link}")
    return Process(
        pid=pid,
        exe=exe,
        path=link.removesuffix(_DELETED) if deleted else link,
        deleted=deleted,
        identity=Identity.of_stat(stat),
        start_time=start_time,
        foreign=_mount_namespace(pid) != _mount_namespace("self"),
    )


def _mount_namespace(pid: int | str) -> int:
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)): the second is a name that may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    return text[text.rindex(")") + 2 :].split()


def _start_time_or_none(pid: int) -> int | None:
    try:
        return int(_stat_fields(pid)[19])
    except OSError:
        return None


def _tgid(pid: int) -> int:
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    raise ProcessLookupError(pid)


def _denied(pid: int) -> PermissionDeniedError:
    return PermissionDeniedError(f"may not read the executable of process {pid}", "run undergo as root")


def _vanished(pid: int) -> ProcessError:
    return ProcessError(f"process {pid} ended just now")
