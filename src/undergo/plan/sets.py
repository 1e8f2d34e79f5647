"""Named sets of functions, `-f @module`: for those who do not know the names yet.

    @module        every function of the program's own module
    @handlers      HTTP handlers by their type, ServeHTTP methods and generated gRPC handlers, but the library's own
    @sql           what database/sql and pgx do for the program
    @http-client   outgoing HTTP requests

More can be defined in a configuration file, from patterns and other sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from undergo.errors import UsageError
from undergo.goexe.function import is_method
from undergo.goexe.functions import without_type_arguments
from undergo.plan.patterns import compile_pattern, rows_matching
from undergo.plan.probe_plan import Issue

if TYPE_CHECKING:
    from undergo.goexe.executable import GoExecutable

Sets = Mapping[str, Sequence[str]]
NO_SETS: Final[Sets] = MappingProxyType({})

#: Sets that are lists of patterns. Each member is where its work is done: the methods before it are one-line
#: wrappers, mostly inlined. A pattern that selects nothing is no error: not every program uses everything.
_LISTED: Final[Sets] = {
    "@sql": (
        # database/sql/sql.go, the same in Go 1.17 to 1.27
        *(f"database/sql.(*DB).{name}Context" for name in ("Query", "QueryRow", "Exec", "Prepare", "Ping")),
        "database/sql.(*DB).BeginTx",
        *(f"database/sql.(*Conn).{name}Context" for name in ("Query", "QueryRow", "Exec", "Prepare", "Ping")),
        "database/sql.(*Conn).BeginTx",
        *(f"database/sql.(*Tx).{name}Context" for name in ("Query", "QueryRow", "Exec", "Prepare")),
        *(f"database/sql.(*Stmt).{name}Context" for name in ("Query", "QueryRow", "Exec")),
        "database/sql.(*Tx).Commit",
        "database/sql.(*Tx).Rollback",
        "database/sql.(*Rows).Next",
        # used without database/sql
        "/^github\\.com/jackc/pgx/v\\d+\\.\\(\\*Conn\\)\\.(Query|QueryRow|Exec|Prepare|Ping|BeginTx|SendBatch|CopyFrom)$/",
    ),
    # net/http/client.go and transport.go, the same in Go 1.17 to 1.27; a request that is redirected makes several
    # round trips.
    "@http-client": ("net/http.(*Client).do", "net/http.(*Transport).roundTrip"),
}

_HANDLER_TYPES: Final = (
    ("net/http.ResponseWriter", "*net/http.Request"),
    ("*github.com/gin-gonic/gin.Context",),
)
_WORDS: Final = {"net/http.ResponseWriter": 2}  # an interface; the others are pointers
_HANDLER_NAME: Final = re.compile(r".+\.ServeHTTP|.+\._[A-Z]\w*_\w+_Handler")  # protoc-gen-go-grpc
_MEMBERS: Final = "@module, @handlers, @sql, @http-client"


def is_set(text: str) -> bool:
    """Whether a pattern names a set."""
    return text.startswith("@")


def members(executable: GoExecutable, name: str, sets: Sets = NO_SETS) -> tuple[list[int], list[Issue]]:
    """Rows of the function table, and what there is to say about the set; no rows if it has none here.

    `sets` are those of the configuration, by name ("@orders"). Raises UsageError for a set nobody defined, and
    TruncatedError where debug information is damaged.
    """
    return _members(executable, name, sets, ())


def _members(
    executable: GoExecutable, name: str, sets: Sets, within: tuple[str, ...]
) -> tuple[list[int], list[Issue]]:
    functions = executable.functions
    if name in within:
        raise UsageError(f"the set {name} contains itself", " -> ".join((*within, name)))
    if name in sets or name in _LISTED:
        rows: set[int] = set()
        issues: list[Issue] = []
        for text in sets.get(name) or _LISTED[name]:
            if is_set(text):
                found, more = _members(executable, text, sets, (*within, name))
                issues += more
            else:
                found = list(rows_matching(functions, compile_pattern(text)))
            rows.update(found)
        return _proper(executable, rows), issues
    if name == "@module":
        own = _own(executable)
        return _proper(executable, functions.select(own)), []
    if name == "@handlers":
        return _handlers(executable)
    known = ", ".join([_MEMBERS, *sets])
    raise UsageError(f"there is no set {name}", f"sets are {known}")


def _proper(executable: GoExecutable, rows: Sequence[int] | set[int]) -> list[int]:
    """In order, without wrappers: they only call what they wrap."""
    return [row for row in sorted(rows) if not executable.functions.is_wrapper(row)]


def package_of(name: str) -> str:
    """The import path in a function's name, as symbols spell it: "a.b/c%2ed" of "a.b/c%2ed.(*T).f"."""
    base = name.partition("[")[0]
    slash = base.rfind("/")
    return base[: base.find(".", slash + 1)] if "." in base[slash + 1 :] else ""


def _own(executable: GoExecutable) -> Callable[[str], bool]:
    """Whether a function's name is of the program's own module."""
    module = executable.build.module or executable.build.path
    # cmd/internal/objabi.PathToPrefix: dots of the last element are escaped, and so is what no symbol may have
    head, slash, last = module.rpartition("/")
    symbol = head + slash + last.replace(".", "%2e")

    def own(name: str) -> bool:
        package = package_of(name)
        return package in ("main", symbol) or (bool(module) and package.startswith(module + "/"))

    return own


def _handlers(executable: GoExecutable) -> tuple[list[int], list[Issue]]:
    functions, own = executable.functions, _own(executable)

    def candidate(package: str) -> bool:
        # the standard library's import paths have no dot in their first element
        return own(package + ".") or "." in package.partition("/")[0]

    rows = {
        row
        for row in functions.select(_HANDLER_NAME.fullmatch)
        if candidate(package_of(functions.names[row]))
    }
    if executable.dwarf_version is None:
        why = "there is no debug information to tell handlers by their type; only ServeHTTP and gRPC handlers"
        return _proper(executable, rows), [Issue("@handlers", "no debug information", why)]
    from undergo.goexe.dwarf import Dwarf

    dwarf = Dwarf(executable.elf)
    complete = executable.build.version >= (1, 22)  # before, parameters called _ are not there
    for types in _HANDLER_TYPES:
        for name, whole in dwarf.taking(types, candidate).items():
            named = functions.rows_named(without_type_arguments(name))
            rows.update(named if whole and complete else _shaped(executable, named, types))
    return _proper(executable, rows), []


def _shaped(executable: GoExecutable, rows: Sequence[int], types: Sequence[str]) -> list[int]:
    """Those whose arguments have the shape of these types, after a receiver if there is one."""
    from undergo.goexe.arguments import argument_words

    shape = tuple(_WORDS.get(name, 1) for name in types)
    return [
        row
        for row, words in argument_words(executable, set(rows)).items()
        if words[-len(shape) :] == shape
        and len(words) <= len(shape) + is_method(executable.functions.names[row])
    ]
