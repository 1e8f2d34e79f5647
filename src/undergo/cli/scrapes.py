"""`--prometheus ADDR:PORT`: what `latency` counts, for whoever scrapes it while it runs."""

from __future__ import annotations

import html
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from undergo import __version__
from undergo.cli.latency_rows import LatencyRows
from undergo.events.decode import ledger
from undergo.exports.prometheus import Naming, Scrape, encode, require
from undergo.kernel.session import Session
from undergo.views.style import Palette

if TYPE_CHECKING:
    from undergo.exports.endpoint import Address, Page

#: The kernel's tables are read no more often than this, in ns; who asks sooner gets what was read last.
_LEAST_NS = 100_000_000


class _AddressType(click.ParamType["Address"]):
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Raises click.BadParameter."""
        from undergo.exports.endpoint import Address

        if isinstance(value, Address):
            return value
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]/]*)):([0-9]{1,5})", str(value))
        if not match or int(match[3]) > 65535:
            self.fail(
                f"{value} is no ADDR:PORT; write :9464, 0.0.0.0:9464, [::1]:9464 or db7:9464", param, ctx
            )
        return Address(match[1] or match[2] or "127.0.0.1", int(match[3]))


prometheus_option = click.option(
    "--prometheus",
    "address",
    type=_AddressType(),
    metavar="ADDR:PORT",
    help="meanwhile serve the figures at http://ADDR:PORT/metrics; `:9464` is for this host alone, "
    "`0.0.0.0:9464` for everybody who can reach it",
)


def listen_for_scrapes(address: Address) -> socket.socket:
    """The socket, before anything is attached. Raises UsageError."""
    from undergo.exports.endpoint import listen

    require()
    return listen(address)


@contextmanager
def scrapes(
    listener: socket.socket,
    running: Session,
    rows: LatencyRows,
    names: Mapping[int, str],
    programs: Mapping[int, str],
    *,
    by: bool,
    style: Palette,
) -> Iterator[None]:
    """Answers them while this is open. `names` and `programs` are those of functions, by FunctionPlan.id."""
    from undergo.exports.endpoint import address_of, serving

    causes = tuple(running.drop_causes())
    naming = Naming(names, programs, causes, by, __version__, platform.release())
    tables = _Tables(running, rows, naming)
    at = address_of(listener)
    # never silent: with port 0 nothing else says where it is
    print(style.paint(style.dim, f"metrics at http://{at}/metrics"), file=sys.stderr, flush=True)
    with serving(listener, {"/": _index(naming), "/metrics": tables.page}):
        yield


class _Tables:
    """The kernel's tables as a page; all in the thread of the endpoint."""

    def __init__(self, running: Session, rows: LatencyRows, naming: Naming) -> None:
        self._running, self._rows, self._naming = running, rows, naming
        self._due = 0
        self._scrape: Scrape | None = None
        self._pages: dict[bool, tuple[bytes, str]] = {}  # of this scrape, by format

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics now, or as they were a moment ago."""
        if self._scrape is None or time.monotonic_ns() >= self._due:
            self._scrape = self._read()
            self._due = time.monotonic_ns() + _LEAST_NS
            self._pages.clear()
        openmetrics = "application/openmetrics-text" in accept
        if openmetrics not in self._pages:
            self._pages[openmetrics] = encode(self._scrape, self._naming, openmetrics=openmetrics)
        return self._pages[openmetrics]

    def _read(self) -> Scrape:
        running = self._running
        frames = running.open_frames()
        # calls of a process that has ended are not open any more
        alive = {pid for pid in {frame.pid for frame in frames} if os.path.exists(f"/proc/{pid}/exe")}
        reading = self._rows.read([frame for frame in frames if frame.pid in alive])
        # no open calls: they would make counters that fall
        account = ledger(
            running.tallies(), running.overflow(), self._naming.causes, open_calls=0, aggregated=True
        )
        return Scrape(reading.rows, reading.values, account)


def _index(naming: Naming) -> Page:
    programs = sorted(set(naming.programs.values()))
    listed = "".join(
        f"<li>{html.escape(program.encode(errors='replace').decode())}</li>" for program in programs
    )
    count = len(naming.functions)
    body = (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>undergo</title>"
        f"<h1>undergo {html.escape(naming.version)}</h1>"
        f"<p>Traces {count:,} function{'' if count == 1 else 's'} of:</p><ul>{listed}</ul>"
        '<p><a href="/metrics">Metrics</a></p></html>\n'
    ).encode()
    return lambda accept: (body, "text/html; charset=utf-8")
