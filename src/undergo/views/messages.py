"""What the Error method of the standard library's errors would say, from their fields."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from undergo.events.values import Dynamic, Missing, Pointer, Scalar, Several, Struct, Text, Value

_Fields = Mapping[str, Value]


def message(of: Dynamic) -> str | None:
    """The message of an error that an interface holds; None if how to make it is not known, or a part was not read."""
    value = of.value.target if isinstance(of.value, Pointer) else of.value
    if of.type == "syscall.Errno" and isinstance(value, Scalar):
        return os.strerror(int(value.value.real)).lower()
    if of.type in _FIXED:
        return _FIXED[of.type]
    known = _KNOWN.get(of.type)
    if known is None or not isinstance(value, Struct):
        return None
    try:
        return known(dict(value.fields))
    except _Unread:
        return None


class _Unread(Exception):
    pass


def _text(fields: _Fields, name: str) -> str:
    found = fields.get(name)
    if not isinstance(found, Text):
        raise _Unread
    shown = found.raw.decode("utf-8", "backslashreplace")
    return shown if len(found.raw) >= found.length else f"{shown}…"


def _inner(value: Value) -> str:
    found = message(value) if isinstance(value, Dynamic) else None
    if found is None:
        if isinstance(value, Dynamic):
            return f"<{value.type}>"
        raise _Unread
    return found


def _joined(fields: _Fields) -> str:
    errors = fields.get("errs")
    if not isinstance(errors, Several) or any(isinstance(one, Missing) for one in errors.items):
        raise _Unread
    lines = [_inner(one) for one in errors.items]
    return "\n".join([*lines, *(["…"] if len(errors.items) < errors.length else [])])


def _path(fields: _Fields) -> str:
    return f"{_text(fields, 'Op')} {_text(fields, 'Path')}: {_inner(fields.get('Err'))}"


def _link(fields: _Fields) -> str:
    where = f"{_text(fields, 'Op')} {_text(fields, 'Old')} {_text(fields, 'New')}"
    return f"{where}: {_inner(fields.get('Err'))}"


def _number(fields: _Fields) -> str:
    what = f'strconv.{_text(fields, "Func")}: parsing "{_text(fields, "Num")}"'
    return f"{what}: {_inner(fields.get('Err'))}"


#: By the runtime's name of the type. Go 1.17 to 1.27: errors, fmt, io/fs, os, strconv, net/url.
_KNOWN: Final[Mapping[str, Callable[[_Fields], str]]] = {
    "*errors.errorString": lambda fields: _text(fields, "s"),
    "*errors.joinError": _joined,
    "*fmt.wrapError": lambda fields: _text(fields, "msg"),
    "*fmt.wrapErrors": lambda fields: _text(fields, "msg"),
    "*fs.PathError": _path,
    "*os.LinkError": _link,
    "*os.SyscallError": lambda fields: f"{_text(fields, 'Syscall')}: {_inner(fields.get('Err'))}",
    "*strconv.NumError": _number,
    "*url.Error": lambda fields: (
        f'{_text(fields, "Op")} "{_text(fields, "URL")}": {_inner(fields.get("Err"))}'
    ),
    "*json.SyntaxError": lambda fields: _text(fields, "msg"),
}
_FIXED: Final = {
    "context.deadlineExceededError": "context deadline exceeded",
    "poll.errNetClosing": "use of closed network connection",
    "*poll.DeadlineExceededError": "i/o timeout",
}
