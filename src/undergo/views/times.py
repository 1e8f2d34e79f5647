"""Instants and durations of Go's package time."""

from __future__ import annotations

from datetime import UTC, datetime

from undergo.events.values import Scalar, Struct

_SECONDS_TO_1970 = 62_135_596_800  # from the first of January of year 1
_SECONDS_TO_1885 = 59_453_308_800


def instant(value: Struct) -> int | None:
    """A time.Time in ns since the epoch; None if it was not read.

    time/time.go: bit 63 of wall says that it has seconds since 1885, else ext has those since year 1.
    """
    parts = dict(value.fields)
    wall, ext = parts.get("wall"), parts.get("ext")
    if not isinstance(wall, Scalar) or not isinstance(ext, Scalar):
        return None
    bits, seconds = int(wall.value), int(ext.value)  # type: ignore[arg-type]
    if bits >> 63:
        seconds = (bits >> 30 & (1 << 33) - 1) + _SECONDS_TO_1885
    return (seconds - _SECONDS_TO_1970) * 10**9 + (bits & (1 << 30) - 1)


def time_text(value: Struct) -> str:
    """`2026-11-21T09:06:59.5Z`; "" if it was not read, or is of a year that has no four digits."""
    at = instant(value)
    return "" if at is None else time_of(at)


def time_of(at: int) -> str:
    """The same of ns since the epoch."""
    seconds, nanoseconds = divmod(at, 10**9)
    if seconds == -_SECONDS_TO_1970 and not nanoseconds:
        return "time.Time{}"
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{when:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def duration(ns: int) -> str:
    """As Go's Duration.String."""
    if not ns:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if ns < size * 1000:
            return f"{sign}{_decimal(ns, size)}{unit}"
    seconds, rest = divmod(ns, 1_000_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    shown = f"{_decimal(seconds * 1_000_000_000 + rest, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else sign + shown


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)
