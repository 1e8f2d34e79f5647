"""Whatever is typed for options that have a language of their own: it is taken, or refused in one clear line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Build
from undergo.cli.captures import Capturing, capture_all
from undergo.cli.described import Described, filter_all, key_all
from undergo.cli.options import DURATION, Size
from undergo.cli.targets import Targets
from undergo.cli.until import until
from undergo.errors import UndergoError
from undergo.goexe.executable import GoExecutable
from undergo.plan.capture import Asked, Limits
from undergo.plan.planner import make_plan
from undergo.plan.probe_plan import ProbePlan

EXAMPLES = int(os.environ.get("UNDERGO_FUZZ_EXAMPLES", "300"))
fuzz = settings(max_examples=EXAMPLES, deadline=5000, suppress_health_check=list(HealthCheck))

NAMES = "n name u i ok items req err wall req.Method req.Small req.Price req.Tags".split()
OPERATORS = "== != < >=".split()
VALUES = r'0 -1 0x10 1_000 1.5 true nil 10ms 99999999999h 0.1ns "x" `x` "\xff"'.split()
VALUES += [*map("9".__mul__, (19, 25, 299, 5000)), "9" * 299 + "h", "9" * 50 + ".5", f'"{"x" * 70}"']
MARKS = """ && |(|)|!|,|.|-|len(|hasPrefix(|label("k")""".split("|") + [" || "]
SIGNATURE = "main.handle(|main.|func(|chan |[]|[3]|[99999999999]|map[string]|*|...|int|error".split("|")
SIGNATURE += "string|struct{|}|interface{}| a| b|, |(|)|any|context.Context|<-chan int|_".split("|")
EVENT = "main.handle|main.*|/(/| slower than | panics| fails| returns|2s|soon|signal".split("|")
TIME = "0|1|.5|ns|us|µs|h|m|kb|GB|tb|-|e9|٣|inf".split("|")


def pieces(*of: str) -> st.SearchStrategy[str]:
    """Texts made of these and of spaces; or any texts."""
    typed = st.binary(max_size=60).map(os.fsdecode)
    return st.one_of(
        st.lists(st.sampled_from([*of, " "]), max_size=12).map("".join), typed, st.text(max_size=60)
    )


@dataclass(frozen=True, repr=False)
class Target:
    """An executable, the plan of its functions, and what is known of them."""

    executables: list[GoExecutable]
    plans: list[ProbePlan]
    described: list[Described]


@pytest.fixture(scope="module")
def target(build: Build) -> Iterator[Target]:
    """A program with parameters of all kinds."""
    with GoExecutable.open(os.fspath(build("filtered", "1.24"))) as executable:
        plan = make_plan(executable, 0, 0, ["main.*"], max_probes=1000)
        yield Target([executable], [plan], [Described(executable, [])])


def taken(work: Callable[[], object]) -> None:
    """Nothing but an error of ours is raised."""
    try:
        work()
    except (UndergoError, click.BadParameter) as error:
        assert error.message


def captured(target: Target, asked: Asked, described: list[Described]) -> None:
    capture_all(cast(Targets, target), target.plans, described, Capturing(asked, Limits(), False))


comparisons = st.tuples(*map(st.sampled_from, (NAMES, OPERATORS, VALUES))).map(" ".join)


@fuzz
@given(st.one_of(pieces(*NAMES, *VALUES, *OPERATORS, *MARKS), comparisons))
@example("n > " + "9" * 5000)
@example("wall > " + "9" * 299 + "h")
@example("req.Small > " + "9" * 50 + ".5")
@example("len(items) > " + "9" * 40)
def test_filters(target: Target, text: str) -> None:
    """`--filter`."""
    handle = [replace(plan, functions=plan.functions[:1]) for plan in target.plans]
    taken(lambda: filter_all(handle, target.described, text))


@fuzz
@given(pieces(*NAMES, *MARKS))
def test_paths(target: Target, text: str) -> None:
    """`--by` and `--show`."""
    taken(lambda: key_all(target.plans, target.described, text))
    taken(lambda: captured(target, Asked(paths=(text,)), target.described))


@fuzz
@given(pieces("a", "=", "x" * 300, "\udcff", "\0"))
def test_labels(target: Target, text: str) -> None:
    """`--label`."""
    taken(lambda: filter_all(target.plans, target.described, None, [text]))


@fuzz
@given(pieces(*SIGNATURE))
def test_signatures(target: Target, text: str) -> None:
    """`--sig`, and reading what it says the function takes."""
    taken(lambda: captured(target, Asked(True, True), [Described(target.executables[0], [text])]))


@fuzz
@given(pieces(*EVENT))
def test_events(target: Target, text: str) -> None:
    """`--until`."""
    taken(lambda: until([text], target.plans))


@fuzz
@given(pieces(*TIME, "9" * 400))
def test_quantities(text: str) -> None:
    """Durations and sizes fit into 63 bits."""
    for kind in (DURATION, Size(1)):
        taken(lambda kind=kind: check(kind.convert(text, None, None)))


def check(number: int) -> None:
    assert 0 <= number < 1 << 63
