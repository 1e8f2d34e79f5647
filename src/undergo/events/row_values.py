"""What rows of `latency --by` are told apart by: the values of an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from undergo.events.calls import Latency

if TYPE_CHECKING:  # reading values takes much that reading recordings does not
    from undergo.plan.filters import Key

FUNCTION = (1 << 24) - 1  # the bits of a row's number that are FunctionPlan.id; the others tell its value
_UNREAD, _OTHER = 254, 255  # bpf/undergo.h


class Rest(Enum):
    """Rows of no one value."""

    OTHER = "other"  # there were too many before
    UNREAD = "unread"  # it could not be read
    NONE = "none"  # the goroutine has no such label


RowValue = str | int | bool | Rest


def row_values(
    known: Mapping[int, tuple[bytes, int, bool]], rows: Iterable[Latency], keys: Mapping[int, Key]
) -> dict[int, RowValue]:
    """The value of each row, by its number. A text that was longer than what is kept of it ends with `…`."""
    found: dict[int, RowValue] = {}
    for row in rows:
        number, key = row.func >> 24, keys[row.func & FUNCTION]
        if number == _OTHER or number not in known:
            absent = Rest.NONE if key.is_label else Rest.UNREAD
            found[row.func] = Rest.OTHER if number == _OTHER else absent
            continue
        raw, length, is_text = known[number]
        if is_text:
            shown = raw[: min(length, len(raw))].decode("utf-8", "surrogateescape")
            found[row.func] = shown if length <= len(raw) else f"{shown}…"
            continue
        value = int.from_bytes(raw[:length], "little", signed=key.is_signed)
        found[row.func] = bool(value) if key.is_bool else value
    return found
