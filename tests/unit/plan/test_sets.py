"""Sets of functions: exactly the handlers of a program, its module, its queries; and those of a configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import conftest
from undergo.errors import UsageError
from undergo.goexe.arguments import argument_words
from undergo.goexe.dwarf import Dwarf
from undergo.goexe.executable import GoExecutable
from undergo.goexe.function import is_method
from undergo.plan.planner import make_plan
from undergo.plan.sets import NO_SETS, Sets, is_set, members, package_of

program = conftest.build  # this folder has another `build`

VERSIONS = ["1.19", "1.21", "1.24", "1.27"]
STORE = "undergo.test/programs/webapp/store"
BY_NAME = {"main.(*server).ServeHTTP", "main.answer.ServeHTTP", "main._Greeter_SayHello_Handler"}
BY_TYPE = {"main.plain", "main.(*server).method", "main.closure.func1", f"{STORE}.Health"}
SQL = {f"database/sql.(*{name}" for name in ("DB).QueryContext", "DB).ExecContext", "Rows).Next")}
HTTP = {"net/http.(*Client).do", "net/http.(*Transport).roundTrip"}
HANDLER = ("net/http.ResponseWriter", "*net/http.Request")

Opened = Callable[..., GoExecutable]


@pytest.fixture
def webapp(program: conftest.Build) -> Iterator[Opened]:
    """Open tests/programs/webapp, built in some way."""
    opened = []

    def open_webapp(go: str = "1.24", *, stripped: bool = False, pie: bool = False) -> GoExecutable:
        opened.append(GoExecutable.open(program("webapp", go, stripped=stripped, pie=pie)))
        return opened[-1]

    yield open_webapp
    for executable in opened:
        executable.close()


def names(executable: GoExecutable, name: str, sets: Sets = NO_SETS) -> list[str]:
    """The functions of a set about which there is nothing to say."""
    rows, issues = members(executable, name, sets)
    assert [] == issues
    assert sorted(set(rows)) == rows
    return [executable.functions.names[row] for row in rows]


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("pie", [False, True])
def test_handlers(webapp: Opened, go: str, pie: bool) -> None:
    """Functions, methods and closures of a handler's type, in main and beside it; none that merely looks like one."""
    assert sorted(BY_NAME | BY_TYPE) == sorted(names(webapp(go, pie=pie), "@handlers"))


@pytest.mark.parametrize("go", VERSIONS)
def test_handlers_without_debug_information(webapp: Opened, go: str) -> None:
    """Names tell the ServeHTTP methods and the gRPC handlers, and an issue says that this is not all."""
    executable = webapp(go, stripped=True)
    rows, issues = members(executable, "@handlers")
    assert sorted(BY_NAME) == sorted(executable.functions.names[row] for row in rows)
    assert [("@handlers", "no debug information")] == [(issue.func, issue.kind) for issue in issues]
    assert "only ServeHTTP and gRPC handlers" in issues[0].message


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("stripped", [False, True])
def test_the_module(webapp: Opened, go: str, stripped: bool) -> None:
    """All packages of the program's module, and nothing that it only uses; debug information is not needed."""
    executable = webapp(go, stripped=stripped)
    found = names(executable, "@module")
    wanted = {
        name
        for row, name in enumerate(executable.functions.names)
        if name.startswith(("main.", "undergo.test/programs/")) and not executable.functions.is_wrapper(row)
    }
    assert wanted == set(found)
    assert {"main.main", "main.helper", f"{STORE}.Open"} <= wanted
    assert "main.(*answer).ServeHTTP" not in wanted  # the compiler made it, to call main.answer.ServeHTTP


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("stripped", [False, True])
def test_queries_and_requests(webapp: Opened, go: str, stripped: bool) -> None:
    """The functions of the libraries that do the work, those that are in this program."""
    executable = webapp(go, stripped=stripped)
    assert sorted(SQL) == sorted(names(executable, "@sql"))
    assert sorted(HTTP) == sorted(names(executable, "@http-client"))


def test_a_set_of_the_configuration(webapp: Opened) -> None:
    """Names, globs and regular expressions; what none of them selects is left out in silence."""
    sets = {"@mine": ("main.plain", "main.(*server).*", f"/^{STORE}\\.[HO]/", "main.gone", "/^nothing/")}
    wanted = ["main.(*server).ServeHTTP", "main.(*server).method", "main.plain"]
    assert [*wanted, f"{STORE}.Health", f"{STORE}.Open"] == sorted(
        name for name in names(webapp(), "@mine", sets) if not name.endswith("-fm")
    )


def test_a_set_within_a_set(webapp: Opened) -> None:
    """What both have is there once; what is to be said of the inner is said of the outer."""
    sets = {"@in": ("main.plain", "@sql"), "@out": ("@in", "@in", "main.helper", "main.plain")}
    assert sorted({"main.plain", "main.helper"} | SQL) == sorted(names(webapp(), "@out", sets))
    _, issues = members(webapp(stripped=True), "@out", {"@out": ("main.plain", "@handlers")})
    assert ["no debug information"] == [issue.kind for issue in issues]


def test_a_set_of_the_configuration_goes_first(webapp: Opened) -> None:
    """The name of a built-in one can be given to another."""
    sets = {"@sql": ("main.plain",), "@handlers": ("main.helper",), "@module": ("@sql",)}
    assert [["main.plain"], ["main.helper"], ["main.plain"]] == [names(webapp(), name, sets) for name in sets]


@pytest.mark.parametrize(
    ("sets", "way"),
    [
        ({"@a": ("main.plain", "@a")}, "@a -> @a"),
        ({"@a": ("@b",), "@b": ("@c",), "@c": ("@a",)}, "@a -> @b -> @c -> @a"),
        ({"@a": ("@sql",), "@sql": ("@a",)}, "@a -> @sql -> @a"),
    ],
)
def test_a_set_that_contains_itself(webapp: Opened, sets: Sets, way: str) -> None:
    """However far around, the way is told."""
    with pytest.raises(UsageError) as caught:
        members(webapp(), "@a", sets)
    assert ("the set @a contains itself", way) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize("sets", [{"@mine": ("main.main",)}, {"@a": ("@typo",), "@mine": ()}])
def test_an_unknown_set(webapp: Opened, sets: Sets) -> None:
    """By name or within another; the hint lists all, with those of the configuration."""
    with pytest.raises(UsageError) as caught:
        members(webapp(), "@typo" if "@a" not in sets else "@a", sets)
    assert "there is no set @typo" == caught.value.message
    assert "@module, @handlers, @sql, @http-client" in caught.value.hint
    assert "@mine" in caught.value.hint


def test_a_set_with_no_member(webapp: Opened) -> None:
    """It has no rows, and a plan of it is refused: whoever names it expects something."""
    sets = {"@mine": ("main.gone",)}
    executable = webapp()
    assert ([], []) == members(executable, "@mine", sets)
    with pytest.raises(UsageError) as caught:
        make_plan(executable, 0, 0, ["main.plain", "@mine"], sets=sets, max_probes=1000)
    assert f"no function of {executable.display} is in @mine" == caught.value.message


def test_a_wrong_pattern_within_a_set(webapp: Opened) -> None:
    """It is as wrong as with -f."""
    with pytest.raises(UsageError) as caught:
        members(webapp(), "@mine", {"@mine": ("/(/",)})
    assert "/(/ is not a regular expression" in caught.value.message


def test_a_plan_of_sets_and_patterns(webapp: Opened) -> None:
    """A function named both ways is planned once; issues of sets are the plan's."""
    executable = webapp(stripped=True)
    plan = make_plan(executable, 0, 1, ["@handlers", "main.answer.*", "@sql"], roles=(), max_probes=1000)
    assert sorted(BY_NAME | SQL) == sorted(planned.function.name for planned in plan.functions)
    assert "no debug information" in {issue.kind for issue in plan.issues}


@pytest.mark.parametrize("go", VERSIONS)
def test_functions_by_the_types_they_take(webapp: Opened, go: str) -> None:
    """In that order, all of them, after a receiver, with no result; a parameter without a name is not always known."""
    dwarf = Dwarf(webapp(go).elf)
    found = dwarf.taking(HANDLER, lambda package: package == "main")
    own = {name: whole for name, whole in found.items() if name in BY_NAME | BY_TYPE}
    assert (
        dict.fromkeys((BY_NAME | BY_TYPE) - {"main._Greeter_SayHello_Handler", f"{STORE}.Health"}, True)
        == own
    )
    assert not found.keys() & {"main.helper", "main.failing", "main.backwards", "main.main", "main.closure"}
    unnamed = int(go.partition(".")[2]) > 21
    assert {f"{STORE}.Health": unnamed} == dwarf.taking(HANDLER, lambda package: package == STORE)
    assert {} == dwarf.taking(HANDLER, lambda package: False)
    assert {} == dwarf.taking(("main.nosuch",), lambda package: True)
    assert "main.backwards" in dwarf.taking(HANDLER[::-1], lambda package: package == "main")


SHAPES = """\
package main

import (
	"net/http"
	"os"
)

type (
	W = http.ResponseWriter
	R = *http.Request
	T struct{ n int }
)

//go:noinline
func neither(_ W, _ R) {}

//go:noinline
func first(w W, _ R) { w.WriteHeader(200) }

//go:noinline
func second(_ W, r R) { println(r.URL) }

//go:noinline
func (t T) method(_ W, r R) { println(t.n, r.URL) }

//go:noinline
func (T) unnamed(w W, _ R) { w.WriteHeader(200) }

//go:noinline
func onlyW(w W) { w.WriteHeader(200) }

//go:noinline
func onlyR(r R) { println(r.URL) }

//go:noinline
func made(w W) R { w.WriteHeader(200); return nil }

//go:noinline
func before(_ int, w W, r R) { w.WriteHeader(len(r.Method)) }

//go:noinline
func after(w W, r R, _ string) { w.WriteHeader(len(r.Method)) }

//go:noinline
func between(w W, _ int, _ R) { w.WriteHeader(200) }

func main() {
	for range os.Args[1:] {
		var w W
		var r R
		neither(w, r)
		first(w, r)
		second(w, r)
		T{1}.method(w, r)
		T{1}.unnamed(w, r)
		onlyW(w)
		onlyR(r)
		made(w)
		before(1, w, r)
		after(w, r, "")
		between(w, 1, r)
	}
}
"""


@pytest.mark.parametrize("go", VERSIONS)
def test_parameters_without_names(go_toolchains: dict[str, str], tmp_path: Path, go: str) -> None:
    """Go up to 1.21 leaves them out of the debug information: the words of the arguments tell what they were."""
    if go not in go_toolchains:
        pytest.skip(f"no Go {go}")
    (tmp_path / "main.go").write_text(SHAPES)
    environment = os.environ | {"GO111MODULE": "auto", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    environment["GOCACHE"] = str(conftest.CACHE / "gocache")
    command = [go_toolchains[go], "build", "-o", "shapes", "main.go"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    with GoExecutable.open(tmp_path / "shapes") as executable:
        wanted = ["main.T.method", "main.T.unnamed", "main.first", "main.second"]
        found = sorted(names(executable, "@handlers"))
        assert wanted == [name for name in found if name != "main.neither"]
        assert ("main.neither" in found) == (int(go.partition(".")[2]) > 21)  # nothing at all is known of it


WORDS = {
    "main.plain": (2, 1),
    "main.(*server).method": (1, 2, 1),
    "main.answer.ServeHTTP": (2, 2, 1),
    "main.helper": (2, 1, 1),
    "main.backwards": (1, 2),
    "main._Greeter_SayHello_Handler": (2, 2, 1),
    f"{STORE}.Health": (2, 1),
    "time.Time.AppendFormat": (3, 3, 2),  # a struct and a slice have three words
    "runtime.gopark": (1, 1, 1, 1, 1),  # two of its parameters have a byte
    "net/http.(*body).Read": (1, 3),
}


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("stripped", [False, True])
def test_words_of_arguments(webapp: Opened, go: str, stripped: bool) -> None:
    """As the sources declare them, with or without debug information; assembly says nothing."""
    executable = webapp(go, stripped=stripped)
    rows = {executable.functions.rows_named(name)[-1]: name for name in [*WORDS, "runtime.memmove"]}
    found = argument_words(executable, set(rows))
    assert WORDS == {rows[row]: words for row, words in found.items()}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("main.(*T).f", True),
        ("main.T.f", True),
        ("a.b/c%2ed.(*T).f", True),
        ("main.(*T[...]).f", True),
        ("main.T.f-fm", True),
        ("main.f", False),
        ("a.b/c.f", False),
        ("main.f.func1", False),
        ("main.f.func12", False),
        ("main.f.func1-range2", False),
        ("main.f.gowrap1", False),
        ("main.f.deferwrap1", False),
        ("main.(*T).f.func1", False),
        ("main.f[...]", False),
        ("memmove", False),
    ],
)
def test_what_is_a_method(name: str, method: bool) -> None:
    """What has a receiver; closures of functions are named alike and have none."""
    assert method == is_method(name)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("main.main", "main"),
        ("net/http.(*conn).serve", "net/http"),
        ("gopkg.in/yaml%2ev3.Marshal", "gopkg.in/yaml%2ev3"),
        ("a.b/c.Map[d/e.T]", "a.b/c"),
        ("memmove", ""),
        ("a.b/memmove", ""),
    ],
)
def test_the_package_in_a_name(name: str, package: str) -> None:
    """Up to the first dot behind the last slash, type arguments aside."""
    assert package == package_of(name)


def test_what_names_a_set() -> None:
    """An @ in front."""
    assert [True, False, False] == [is_set(text) for text in ("@sql", "main.@sql", "")]
