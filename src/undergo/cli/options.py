"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


class Duration(click.ParamType[int]):
    """A time such as 5us, 1.5ms, 10s, 2m; a bare number is seconds. Converted to integer ns."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises click.BadParameter."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h|)", str(value))
        if not match:
            self.fail(f"{value} is no duration; write 500us, 10ms, 2s or 5m", param, ctx)
        return round(float(match[1]) * _UNITS[match[2]])


DURATION = Duration()

_Command = Callable[..., Any]


def chain(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator, in the order they are given."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


target_options = chain(
    click.option("-p", "--pid", "pids", type=int, multiple=True, help="a running process; repeatable"),
    click.option("-e", "--executable", type=str, help="an executable: all its processes, present and future"),
)
pattern_option = click.option(
    "-f",
    "--function",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="functions: a glob over the full name, or '/regex/'; repeatable",
)
output_options = chain(
    click.option("--json", "as_json", is_flag=True, help="one JSON object a line on stdout"),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="when to use colour",
    ),
)
_run_options = chain(
    click.option("--duration", type=DURATION, help="stop by itself after this time"),
    click.option("--goid", "goids", type=int, multiple=True, help="only this goroutine; repeatable"),
    click.option(
        "--max-probes",
        type=int,
        default=20_000,
        show_default=True,
        help="refuse to place more probes than this",
    ),
    click.option(
        "--max-goroutines",
        type=click.IntRange(16, 1 << 22),
        default=16_384,
        show_default=True,
        help="goroutines inside traced calls at one time",
    ),
    click.option("--dry-run", is_flag=True, help="show where the probes would go, and why; attach nothing"),
    click.option("--as-root", is_flag=True, help="under sudo: run COMMAND as root too"),
    output_options,
    click.argument("command_line", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ARGS...]"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What every tracing command is asked. `duration` in ns."""

    pids: tuple[int, ...]
    executable: str | None
    command_line: tuple[str, ...]
    patterns: tuple[str, ...]
    duration: int | None
    goids: tuple[int, ...]
    max_probes: int
    max_goroutines: int
    dry_run: bool
    as_root: bool
    as_json: bool
    color: str


split_option = click.option(
    "--split/--no-split",
    default=True,
    show_default=True,
    help="where the time went; without, fewer probes and no tracepoints",
)


def session_options(command: _Command) -> _Command:
    """The options of every command that traces functions, given to it as one Request before its own."""
    return chain(target_options, pattern_option, _run_options)(_with_request(command))


def watch_options(command: _Command) -> _Command:
    """The same for commands that trace no functions."""
    return chain(target_options, _run_options)(_with_request(command))


def _with_request(command: _Command) -> _Command:
    @wraps(command)
    def gather(**values: Any) -> Any:
        values.setdefault("patterns", ())
        request = Request(**{field.name: values.pop(field.name) for field in fields(Request)})
        return command(request, **values)

    return gather
