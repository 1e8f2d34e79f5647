"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from undergo.durations import UNITS

if TYPE_CHECKING:
    from undergo.target.config import Config

_LONGEST = 2**62  # ns; the kernel side adds to it


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
        ns = float(match[1]) * UNITS[match[2] or "s"]
        if ns > _LONGEST:
            self.fail(f"{value} is longer than undergo can count", param, ctx)
        return round(ns)


DURATION = Duration()

_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_LARGEST = 2**62


class Size(click.ParamType[int]):
    """A number of bytes such as 500MB or 1.5GB. Converted to int."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises click.BadParameter."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b|)", str(value).lower())
        if not match:
            self.fail(f"{value} is no size; write 500MB or 2GB", param, ctx)
        size = float(match[1]) * _BYTES[match[2]]
        if size > _LARGEST:
            self.fail(f"{value} is more than any machine has", param, ctx)
        if size < self._least:
            self.fail(f"{value} is too little; {self._least // 10**6} MB is the least", param, ctx)
        return round(size)


_Command = Callable[..., Any]


def chain(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator, in the order they are given."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _configure(ctx: click.Context, param: click.Parameter, path: str | None) -> Config | None:
    """Reads the file of -c; its options become the defaults of the command line's."""
    if path is None:
        return None
    from undergo.target.config import read_config

    config = read_config(path)
    ctx.default_map = {**(ctx.default_map or {}), **_defaults(ctx, config)}
    return config


def _defaults(ctx: click.Context, config: Config) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, given in config.options:
        option = _option(ctx.command, name)
        if option is None:
            known = _options_of_all()
            if name in known:
                continue  # another command's: one file serves them all
            near = get_close_matches(name, known, n=1)
            raise given.wrong("unknown option", f"did you mean {near[0]}?" if near else "see --help")
        value: object = given.value
        if option.multiple and isinstance(value, str):
            value = (value,)
        if not option.multiple and not isinstance(value, str):
            raise given.wrong("a list is not expected here")
        try:
            option.type_cast_value(ctx, value)
        except click.UsageError as error:
            raise given.wrong(error.message) from None
        found[option.name or name] = value
    return found


def _option(command: click.Command, name: str) -> click.Option | None:
    for param in command.params:
        if isinstance(param, click.Option) and f"--{name}" in param.opts and name not in _NOT_IN_FILES:
            return param
    return None


def _options_of_all() -> set[str]:
    from undergo.cli.main import commands

    params = [param for command in commands() for param in command.params]
    names = {name.removeprefix("--") for param in params for name in param.opts if name.startswith("--")}
    return names - _NOT_IN_FILES


#: These are what `binaries` says, or belong to one run.
_NOT_IN_FILES = {"pid", "executable", "function", "config", "help", "dry-run", "as-root", "output"}


target_options = chain(
    click.option("-p", "--pid", "pids", type=int, multiple=True, help="a running process; repeatable"),
    click.option("-e", "--executable", type=str, help="an executable: all its processes, present and future"),
    click.option(
        "-c",
        "--config",
        is_eager=True,
        callback=_configure,
        metavar="FILE",
        help="several programs, their functions, and options, from a YAML file",
    ),
)
pattern_option = click.option(
    "-f",
    "--function",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="functions: a glob over the full name, '/regex/', or a set such as @module, @handlers; repeatable",
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
    config: Config | None
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
