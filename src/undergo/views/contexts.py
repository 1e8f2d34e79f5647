"""Of a context.Context what matters to who waits: which kind it is, and its deadline, or that of one around it."""

from __future__ import annotations

from typing import Final

from undergo.events.values import Dynamic, Missing, Pointer, Struct, Value
from undergo.views.times import instant

#: Types that no other context is around (Go 1.17 to 1.27).
_ROOTS: Final = frozenset(
    {"context.backgroundCtx", "context.todoCtx", "*context.emptyCtx", "context.emptyCtx"}
)
_UNREAD: Final = Missing("not read")


def is_context(of: Dynamic) -> bool:
    """Whether it is one of the standard library's."""
    return of.type in _ROOTS or (of.type.startswith("*context.") and of.type.endswith("Ctx"))


def deadline(of: Dynamic) -> int | Missing | None:
    """Its deadline, in ns since the epoch; None if it has none, Missing if the one to ask was not read."""
    if of.type in _ROOTS:
        return None
    value = of.value.target if isinstance(of.value, Pointer) else of.value
    return _of(value) if isinstance(value, Struct) else _UNREAD


def _of(value: Struct) -> int | Missing | None:
    fields = dict(value.fields)
    if of_own := fields.get("deadline"):
        own = instant(of_own) if isinstance(of_own, Struct) else None
        return _UNREAD if own is None else own
    for name in ("Context", "cancelCtx", "ctx", "c"):
        around: Value = fields.get(name)
        if isinstance(around, Dynamic):
            return deadline(around)
        if isinstance(around, Pointer):
            around = around.target
        if isinstance(around, Struct):
            return _of(around)
    return _UNREAD
