"""One function of a Go executable."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Function:
    """One row of the executable's function table; addresses are link-time virtual addresses."""

    index: int  # row in the function table
    name: str  # full name, e.g. "net/http.(*conn).serve", generic arguments as "[...]"
    entry: int  # first byte
    end: int  # one past the last instruction (padding excluded)
    file: str  # source file as recorded, "" if unknown
    line: int  # line of the `func` keyword, 0 if unknown
    func_id: int  # runtime funcID
    wrapper: bool  # compiler-made wrapper (method value, promoted method, ABI wrapper)
    assembly: bool  # written in assembly: g is not in its register, ABI0


@dataclass(frozen=True, slots=True)
class Source:
    """A place in the source."""

    function: str
    file: str  # as recorded, "" if unknown
    line: int  # 0 if unknown

    def __str__(self) -> str:
        """For people: `main.serve (main.go:42)`."""
        name = self.file.rpartition("/")[2]
        return f"{self.function} ({name}:{self.line})" if name else self.function


_METHOD = re.compile(r"[^.]+\.(\(\*[^()]+\)|[^.()]+)\.[^.]+")
_CLOSURE = re.compile(r".*(\.(func|gowrap|deferwrap)\d+(\.\d+)*|-range\d+)")


def is_method(name: str) -> bool:
    """Whether the name has a receiver, "main.(*T).f" or "main.T.f"; closures, "main.f.func1", look like it."""
    return _METHOD.fullmatch(name[name.rfind("/") + 1 :]) is not None and not is_closure(name)


def is_closure(name: str) -> bool:
    """Whether the name is that of a function literal, "main.f.func1", or of a call that go or defer makes."""
    return _CLOSURE.fullmatch(name[name.rfind("/") + 1 :]) is not None
