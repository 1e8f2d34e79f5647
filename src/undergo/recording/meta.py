"""meta.json: what a recording is of, and what its numbers mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from undergo.errors import RecordingError

FORMAT: Final = "undergo recording"
#: A reader refuses a greater major version; a greater minor one only adds what it need not know.
MAJOR: Final = 1
MINOR: Final = 0
NAME: Final = "meta.json"
_LARGEST: Final = 1 << 28  # bytes of a meta.json that is believed


@dataclass(frozen=True, slots=True)
class ExecutableRow:
    """One executable."""

    path: str  # as it was shown when it was traced
    go: str  # "go1.27.3"
    build_id: str
    module: str


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process that was traced, as far as that was known when tracing began."""

    pid: int
    executable: int  # index in `executables`


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """One traced function; `func` in the tables is its index."""

    name: str
    executable: int  # index in `executables`
    file: str  # "" if unknown
    line: int  # 0 if unknown


@dataclass(frozen=True, slots=True)
class Host:
    """Where it was recorded."""

    name: str
    kernel: str
    machine: str
    cpus: int


@dataclass(frozen=True, slots=True)
class Meta:
    """All of meta.json. Times in ns since the epoch."""

    undergo: str
    host: Host
    started_ns: int
    offset_ns: int  # to add to CLOCK_MONOTONIC, which raw records have
    kept: tuple[str, ...]  # of "calls", "split", "states", "args", "results", "labels", "stacks"
    executables: tuple[ExecutableRow, ...]
    processes: tuple[ProcessRow, ...]
    functions: tuple[FunctionRow, ...]
    clock_reasons: tuple[str, ...]  # names of the wait slots in raw records of calls
    state_reasons: tuple[str, ...]  # and of states
    birth_sites: tuple[tuple[int, ...], ...]  # per executable: addresses that raw births count from
    layouts: Mapping[str, Any]  # of raw records, by struct: size, and name -> [dtype, offset]
    ended_ns: int | None = None  # None: it was not closed
    ledger: Mapping[str, Any] | None = None  # the same
    issues: tuple[Mapping[str, str], ...] = ()
    dropped_segments: int = 0  # by rotation
    major: int = MAJOR
    minor: int = MINOR
    format: str = field(default=FORMAT)

    @property
    def closed(self) -> bool:
        """Whether it was brought to its end."""
        return self.ended_ns is not None

    def write(self, directory: str) -> None:
        """Replaces the meta.json of a recording, all or nothing. Raises OSError."""
        path = os.path.join(directory, NAME)
        with open(f"{path}.tmp", "w", encoding="utf-8", errors="replace") as file:
            json.dump(asdict(self), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)

    def ended(self, at: int, ledger: Mapping[str, Any] | None) -> Meta:
        """The same, closed at `at`; without a ledger, because whoever recorded did not live to write one."""
        return replace(self, ended_ns=at, ledger=ledger)


def read_meta(directory: str) -> Meta:
    """The meta.json of a recording. Raises RecordingError."""
    path = os.path.join(directory, NAME)
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        what = "is not a recording" if os.path.exists(directory) else "does not exist"
        raise RecordingError(
            f"{directory} {what}", "`undergo record -o DIRECTORY` makes recordings"
        ) from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from None
    try:
        found = json.loads(raw) if len(raw) <= _LARGEST else None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError
        major = int(found["major"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RecordingError(f"{path} is not of a recording, or damaged") from None
    if major > MAJOR:
        raise RecordingError(
            f"{directory} was written by undergo {found.get('undergo', 'of a later version')}, in format {major}",
            f"this undergo reads formats up to {MAJOR}; use a newer one",
        )
    try:
        return _meta(found)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RecordingError(f"{path} is damaged: something in it is missing or of the wrong kind") from None


def _meta(found: Mapping[str, Any]) -> Meta:
    def rows(kind: Any, given: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
        return tuple(kind(**{name: row[name] for name in kind.__dataclass_fields__}) for row in given)

    ended, ledger = found["ended_ns"], found["ledger"]
    meta = Meta(
        undergo=str(found["undergo"]),
        host=rows(Host, [found["host"]])[0],
        started_ns=int(found["started_ns"]),
        offset_ns=int(found["offset_ns"]),
        kept=tuple(map(str, found["kept"])),
        executables=rows(ExecutableRow, found["executables"]),
        processes=rows(ProcessRow, found["processes"]),
        functions=rows(FunctionRow, found["functions"]),
        clock_reasons=tuple(map(str, found["clock_reasons"])),
        state_reasons=tuple(map(str, found["state_reasons"])),
        birth_sites=tuple(tuple(map(int, sites)) for sites in found["birth_sites"]),
        layouts=dict(found["layouts"]),
        ended_ns=None if ended is None else int(ended),
        ledger=None if ledger is None else dict(ledger),
        issues=tuple(dict(issue) for issue in found["issues"]),
        dropped_segments=int(found["dropped_segments"]),
        major=int(found["major"]),
        minor=int(found["minor"]),
    )
    of = {row.executable for row in meta.functions} | {row.executable for row in meta.processes}
    if not of <= set(range(len(meta.executables))):
        raise ValueError
    return meta
