"""What the commands that look at recordings share: opening them, what to know about them, patience."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from undergo.analysis.ask import MEMORY
from undergo.analysis.caveats import caveats, recorded_issues, recorded_ledger
from undergo.cli.interrupt import end_at_once
from undergo.recording.reader import Recordings, open_recordings
from undergo.recording.scratch import remove_unfinished
from undergo.views import jsonlines
from undergo.views.ledger import ledger_lines
from undergo.views.style import Palette

recordings_argument = click.argument("paths", nargs=-1, required=True, metavar="RECORDING...")
functions_option = click.option(
    "-f",
    "--function",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="functions: a glob over the full name, or '/regex/'; repeatable",
)

_PATIENCE_S, _REFRESH_S = 2.0, 0.25
_GRACE_S = 0.1  # in which Python itself may end what is under way
_ISSUES = 3  # that are shown in full


@contextmanager
def opened(paths: Sequence[str], memory: str = MEMORY, *, tell: bool = True) -> Iterator[Recordings]:
    """The recordings, read as one. `tell` a terminal how far a long query is. Raises RecordingError."""
    recordings = open_recordings(paths, memory)
    done = threading.Event()
    if tell and sys.stderr.isatty():
        threading.Thread(target=_tell_progress, args=(recordings, done), daemon=True).start()
    try:
        with _interruptible(recordings):
            yield recordings
    finally:
        done.set()
        recordings.close()


@contextmanager
def _interruptible(recordings: Recordings) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a query under way: Python's own handlers would have to wait for its end.

    DuckDB 2.0 does not always heed that, or waits for threads of its own; then it is left as it is.
    """
    import duckdb

    here, there = socket.socketpair()
    there.setblocking(False)
    done = threading.Event()

    def listen() -> None:
        while here.recv(1):  # what arrives is the number of a signal
            if not done.wait(_GRACE_S):
                recordings.connection.interrupt()
            if not done.wait(_PATIENCE_S):
                remove_unfinished()
                end_at_once(130)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (duckdb.InterruptException, RuntimeError) as error:
        if isinstance(error, duckdb.InterruptException) or str(error) == "Query interrupted":
            raise KeyboardInterrupt from None
        raise
    finally:
        done.set()
        signal.signal(signal.SIGTERM, terminate)
        signal.set_wakeup_fd(before)
        there.close()
        listener.join()
        here.close()


def _tell_progress(recordings: Recordings, done: threading.Event) -> None:
    told = False
    wait = _PATIENCE_S
    while not done.wait(wait):
        wait = _REFRESH_S
        share = recordings.connection.query_progress()
        if share >= 0:
            print(f"\r\x1b[Kreading ... {share:.0f} %", end="", file=sys.stderr, flush=True)
            told = True
        elif told:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            told = False
    if told:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def say_caveats(recordings: Recordings, as_json: bool, style: Palette) -> None:
    """What is missing from the recordings: JSON lines of type "issue", or for people on stderr."""
    warnings, issues = caveats(recordings), recorded_issues(recordings.metas)
    if as_json:
        jsonlines.write_batch(sys.stdout.buffer, "".join(map(jsonlines.issue, [*issues, *warnings])))
        return
    for issue in issues[:_ISSUES]:
        _note(f"{issue.func}: {issue.message}" if issue.func else issue.message, style.dim, style)
    if len(issues) > _ISSUES:
        _note(f"{len(issues) - _ISSUES:,} more like these are in meta.json", style.dim, style)
    for issue in warnings:
        _note(issue.message, style.warm, style)


def say_recorded_ledger(recordings: Recordings, as_json: bool, style: Palette) -> None:
    """The ledgers added up: the last JSON line, or losses on stderr. Where one is missing, nulls."""
    found = recorded_ledger(recordings)
    if as_json:
        line = jsonlines.no_ledger() if found is None else jsonlines.ledger(found)
        jsonlines.write_batch(sys.stdout.buffer, line)
    elif found is not None and any(found.dropped.values()):
        from undergo.cli.run import REMEDIES  # with all that tracing takes

        for line in ledger_lines(found, REMEDIES, style):
            print(line, file=sys.stderr)


def _note(text: str, sgr: str, style: Palette) -> None:
    print(style.paint(sgr, f"note: {text}"), file=sys.stderr)
