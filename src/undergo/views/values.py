"""Values as a Go developer would write them: `id="A-17", items=[]Item{len 3: {SKU:"x", N:2}, …}`."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from undergo.events.values import (
    Argument,
    Dynamic,
    Entries,
    Func,
    Missing,
    Pointer,
    Scalar,
    Several,
    Sized,
    Struct,
    Text,
    Value,
)
from undergo.goexe.types import GoType, Kind, Types, TypeTable
from undergo.views.contexts import deadline, is_context
from undergo.views.messages import message
from undergo.views.style import escape, quote
from undergo.views.times import duration, time_of, time_text

_STRING = GoType("string", Kind.STRING, 16)
LONGEST = 160  # characters of one value in a line


def arguments(found: Sequence[Argument], types: Types, at: int | None = None) -> str:
    """Parameters with their names: `n=1, s="x"`. `at` is when, in ns since the epoch."""
    shown = (_cut(text(one.value, one.type, types, at=at)) for one in found)
    return ", ".join(f"{escape(one.name) or '_'}={value}" for one, value in zip(found, shown, strict=True))


def _cut(shown: str) -> str:
    """Lines are for reading; --json has it all."""
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def labels(found: Sequence[tuple[Value, Value]]) -> str:
    """A goroutine's labels: `tenant=acme, op="a b"`."""
    return ", ".join(f"{_label(key)}={_label(value)}" for key, value in _by_key(found))


def _label(value: Value) -> str:
    shown = text(value, _STRING, {})
    plain = shown[1:-1]
    return plain if isinstance(value, Text) and plain.replace("-", "").replace("_", "").isalnum() else shown


def labels_as_arguments(found: Sequence[tuple[Value, Value]]) -> list[Argument]:
    """Strings with names."""
    return [Argument(_label(key), _STRING, value) for key, value in _by_key(found)]


def encoded_labels(found: Sequence[tuple[Value, Value]]) -> dict[str, Any]:
    """For JSON."""
    return {_label(key): encoded(value, _STRING, {}) for key, value in _by_key(found)}


def results(found: Sequence[Argument], types: Types, at: int | None = None) -> str:
    """Results; those that have a name with it. Several in parentheses."""
    shown = [
        (f"{escape(one.name)}=" if one.name else "") + _cut(text(one.value, one.type, types, at=at))
        for one in found
    ]
    return f"({', '.join(shown)})" if len(shown) != 1 or found[0].name else shown[0]


def text(value: Value, of: GoType, types: Types, *, typed: bool = True, at: int | None = None) -> str:
    """One value. `typed` says the type of what is not obvious from its braces; deadlines count from `at`."""
    match value:  # what there is most of first
        case Text(raw, length):
            return _string(raw, length, of)
        case Scalar(number):
            return _constant(number, of, types) or _scalar(number, of)
        case None:
            return "nil"
        case Missing(why):
            return f"<{why}>"
        case Several(items, length):
            return _several(items, length, of, types, typed, at)
        case Struct():
            return _struct(value, of, types, typed, at)
        case Pointer(address, followed=False):
            return f"{address:#x}"
        case Pointer(address, target):
            elem = types[of.elem]
            if elem.kind == Kind.STRUCT:
                return "&" + text(target, elem, types, at=at)
            return f"{address:#x} -> {text(target, elem, types, at=at)}"
        case Sized(length, None):
            return f"{escape(short(of.name))}{{len {length:,}}}"
        case Entries():
            return _entries(value, of, types, typed, at)
        case Sized(length, capacity):
            return f"{escape(short(of.name))}{{len {length:,}, cap {capacity:,}}}"
        case Dynamic():
            return _dynamic(value, at)
        case Func(name):
            return escape(name) or "<unknown function>"
    return "<?>"


def _dynamic(value: Dynamic, at: int | None) -> str:
    """The type goes before what does not show it: `*fs.PathError "open /x: no such file"`, `main.Color(1)`."""
    name = escape(short(value.type)) or "<unknown type>"
    if is_context(value):
        return f"({name}){_deadline(value, at)}"
    if value.of is None or value.types is None:
        return f"{name}({value.data:#x})"
    said = message(value)
    if said is not None:
        return f"{name} {quote(said.encode('utf-8', 'surrogatepass'))}"
    shown = text(value.value, value.of, value.types, at=at)
    if (value.of.kind == Kind.POINTER and shown.startswith("&")) or shown.startswith(f"{name}{{"):
        return shown
    if name in ("string", "int", "bool", "float64"):
        return shown
    return f"{name}({shown})"


def _deadline(value: Dynamic, at: int | None) -> str:
    found = deadline(value)
    if found is None:
        return ""
    if isinstance(found, Missing):
        return f" deadline <{found.why}>"
    if at is None:
        return f" deadline {time_of(found)}"
    left = found - at
    step = 10**6 if abs(left) >= 10**8 else 1000  # nobody reads more
    left = (left + step // 2) // step * step
    return f" deadline {duration(left)}" if left > 0 else f" deadline passed {duration(-left)} ago"


def _constant(number: bool | int | float | complex, of: GoType, types: Types) -> str:
    """The name of the constant, where it has one: `main.Green`."""
    if isinstance(number, bool) or not isinstance(number, int) or not isinstance(types, TypeTable):
        return ""
    return "" if of.name == "time.Duration" else escape(short(types.constant(of, number)))


def _scalar(number: bool | int | float | complex, of: GoType) -> str:
    if isinstance(number, bool):
        return "true" if number else "false"
    if of.name == "time.Duration" and isinstance(number, int):
        return duration(number)
    if isinstance(number, int):
        return f"{number:#x}" if of.kind == Kind.UINTPTR else str(number)
    if isinstance(number, float):
        return repr(number) if not number.is_integer() or abs(number) >= 1e16 else f"{number:.1f}"
    return f"({number.real!r}{number.imag:+}i)"


def _string(raw: bytes, length: int, of: GoType) -> str:
    quoted = quote(raw)
    if of.kind != Kind.STRING:
        # bytes that are no text: half of them escaped
        quoted = f"{escape(short(of.name))}({quoted if len(quoted) < 2 * len(raw) + 2 else '0x' + raw.hex()})"
    return quoted if len(raw) >= length else f"{quoted}… <{len(raw):,} of {length:,} bytes>"


def _several(
    items: Sequence[Value], length: int, of: GoType, types: Types, typed: bool, at: int | None
) -> str:
    elem = types[of.elem]
    shown = [text(item, elem, types, typed=False, at=at) for item in items]
    if len(items) < length:
        shown.append("…")
    count = f"len {length:,}: " if of.kind == Kind.SLICE and length else ""
    return f"{escape(short(of.name)) if typed else ''}{{{count}{', '.join(shown)}}}"


def _entries(value: Entries, of: GoType, types: Types, typed: bool, at: int | None) -> str:
    key, elem = types[of.key], types[of.elem]
    items = _by_key(value.items)
    shown = [
        f"{text(k, key, types, typed=False, at=at)}: {text(v, elem, types, typed=False, at=at)}"
        for k, v in items
    ]
    if len(shown) < value.length:
        shown.append("…")
    count = f"len {value.length:,}: " if value.length else ""
    return f"{escape(short(of.name)) if typed else ''}{{{count}{', '.join(shown)}}}"


def _by_key(items: Sequence[tuple[Value, Value]]) -> list[tuple[Value, Value]]:
    """In the order of keys where they have one, as fmt prints maps; else as they lie in the map."""
    orders = [_order(key) for key, _ in items]
    if None in orders:
        return list(items)
    return [items[index] for index in sorted(range(len(items)), key=lambda index: orders[index] or ())]


def _order(key: Value) -> tuple[bytes | int | float, ...] | None:
    if isinstance(key, Text):
        return (key.raw,)
    return (key.value,) if isinstance(key, Scalar) and not isinstance(key.value, complex) else None


def _struct(value: Struct, of: GoType, types: Types, typed: bool, at: int | None) -> str:
    if of.name == "time.Time":
        when = time_text(value)
        if when:
            return when
    shown: list[str] = []
    unread = 0
    for (name, part), field in zip(value.fields, of.fields, strict=True):
        if isinstance(part, Missing):
            unread += 1
        elif not _is_zero(part):  # as in Go's own literals, what is not said is zero
            shown.append(f"{escape(name)}:{text(part, types[field.type], types, at=at)}")
    if unread:
        shown.append(f"<{unread} field{'s' if unread > 1 else ''} not read>")
    return f"{escape(short(of.name)) if typed else ''}{{{', '.join(shown)}}}"


def _is_zero(value: Value) -> bool:
    match value:
        case None:
            return True
        case Scalar(number):
            return not number
        case Text(raw, length):
            return not length or (not any(raw) and len(raw) == length)
        case Several(items, length):
            return len(items) == length and all(map(_is_zero, items))
        case Struct(fields):
            return all(_is_zero(part) for _, part in fields)
    return False


@lru_cache(1 << 14)
def short(name: str) -> str:
    """A type's name without the path before its package: "*example.com/shop.Item" is "*shop.Item"."""
    out, word = [], ""
    for c in name:
        if c.isalnum() or c in "_./-~%":
            word += c
        else:
            out += [word.rpartition("/")[2], c]
            word = ""
    return "".join([*out, word.rpartition("/")[2]])


def encoded(value: Value, of: GoType, types: Types) -> Any:
    """For JSON. What could not be read is {"missing": why}; strings that were cut are {"text", "length"}."""
    match value:  # what there is most of first
        case Text(raw, length):
            return _text(raw, length)
        case Scalar(number):
            if isinstance(number, complex):
                return [_number(number.real), _number(number.imag)]
            return _number(number)
        case None:
            return None
        case Missing(why):
            return {"missing": why}
        case Several(items, length):
            shown = [encoded(item, types[of.elem], types) for item in items]
            return shown if len(items) == length else {"items": shown, "length": length}
        case Struct() if of.name == "time.Time" and (when := time_text(value)):
            return when
        case Struct(fields):
            return {
                name: encoded(part, types[field.type], types)
                for (name, part), field in zip(fields, of.fields, strict=True)
            }
        case Pointer(address, followed=False):
            return {"pointer": f"{address:#x}"}
        case Pointer(address, target):
            return {"pointer": f"{address:#x}", "value": encoded(target, types[of.elem], types)}
        case Sized(length, None):
            return {"length": length}
        case Entries(items, length):
            key, elem = types[of.key], types[of.elem]
            pairs = [[encoded(k, key, types), encoded(v, elem, types)] for k, v in _by_key(items)]
            return {"entries": pairs, "length": length}
        case Sized(length, capacity):
            return {"length": length, "capacity": capacity}
        case Dynamic(name, data, inner, known, table):
            if known is None or table is None:
                return {"type": name, "data": f"{data:#x}"}
            said = message(value)
            told: dict[str, Any] = {} if said is None else {"message": said}
            if is_context(value):
                until = deadline(value)
                told["deadline_ts_ns"] = {"missing": until.why} if isinstance(until, Missing) else until
            return {"type": name, **told, "value": encoded(inner, known, table)}
        case Func(name):
            return {"function": name}
    return None


def _number(value: bool | int | float) -> Any:
    """JSON has no infinities, and numbers beyond 2**53 lose digits in many readers: both become texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, bool) or abs(value) <= 1 << 53 else str(value)


def _text(raw: bytes, length: int) -> Any:
    try:
        shown: dict[str, Any] = {"text": raw.decode()}
    except UnicodeDecodeError as error:
        cut = len(raw) < length and error.start >= len(raw) - 3
        # a character that the limit has cut in two does not make it binary
        shown = {"text": raw[: error.start].decode()} if cut else {"base64": base64.b64encode(raw).decode()}
    if len(raw) >= length and "text" in shown:
        return shown["text"]
    return {**shown, "length": length}
