"""What is known of functions' parameters, and what --filter and --by make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import click

from undergo.cli.options import chain
from undergo.cli.targets import Targets
from undergo.errors import UsageError
from undergo.goexe.dwarf import Dwarf
from undergo.goexe.executable import GoExecutable
from undergo.goexe.maps import map_layout
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.signature import parse_signature
from undergo.goexe.types import Signature, Types
from undergo.kernel.session import MAX_KEYS
from undergo.plan.filter_expression import Both, Expression, label_is, parse, parse_path
from undergo.plan.filters import FunctionFilter, Key, filter_of, key_of, paths_of
from undergo.plan.labels import label_source
from undergo.plan.paths import Subject
from undergo.plan.probe_plan import FunctionPlan, ProbePlan

sig_option = click.option(
    "--sig",
    "written",
    multiple=True,
    metavar="SIGNATURE",
    help="what a function takes, where the executable does not say: 'main.f(id string, n int) error'; repeatable",
)
filter_option = click.option(
    "--filter",
    "filter_text",
    metavar="EXPR",
    help="only calls of which this is true, tested in the kernel: 'n > 10 && err != nil'",
)
label_option = click.option(
    "--label",
    "only_labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="only calls of goroutines with this label, as the profiler knows it; repeatable",
)


by_options = chain(
    click.option(
        "--by",
        "by_text",
        metavar="PATH",
        help='a row for each value of this argument: req.URL.Path, or label("tenant")',
    ),
    click.option(
        "--max-keys",
        type=click.IntRange(1, MAX_KEYS),
        default=50,
        show_default=True,
        help="values of --by; calls with others are summed up in one row",
    ),
)


class Described:
    """What is known of the parameters and results of an executable's functions: as written by the user, else DWARF."""

    def __init__(self, executable: GoExecutable, written: Sequence[str]) -> None:
        """Raises UsageError, with a caret, for a signature that is wrong."""
        self._executable = executable
        signatures = [parse_signature(text, self.runtime_types) for text in written]
        self._written = {one.name: one for one in signatures}
        self._known: dict[int, Subject | None] = {}  # by row of the function table
        build = executable.build
        self.maps = map_layout(build.version, build.go_version)
        self.labels = label_source(build.version, executable.layout.g_labels)

    @cached_property
    def runtime_types(self) -> RuntimeTypes:
        """The descriptors of its types."""
        return RuntimeTypes(self._executable)

    @cached_property
    def _dwarf(self) -> Dwarf | None:
        return Dwarf(self._executable.elf) if self._executable.dwarf_version is not None else None

    @property
    def names(self) -> set[str]:
        """Functions whose signatures were written."""
        return set(self._written)

    @property
    def complete(self) -> bool:
        """Whether the executable itself says something."""
        return self._dwarf is not None

    def of(self, function: FunctionPlan) -> Subject | None:
        """What is known of a function; None if nothing says what it takes. Raises TruncatedError on damage."""
        row = function.function.index
        if row not in self._known:
            found = self._look_up(function)
            self._known[row] = None if found is None else self._subject(function, *found)
        return self._known[row]

    def bare(self, function: FunctionPlan) -> Subject:
        """The same without what it takes."""
        return self._subject(function, Signature((), ()), {})

    def _subject(self, function: FunctionPlan, signature: Signature, types: Types) -> Subject:
        return Subject(function.function.name, signature, types, self.maps, self.labels)

    def _look_up(self, function: FunctionPlan) -> tuple[Signature, Types] | None:
        own = self._written.get(function.function.name)
        if own is not None:
            return own.signature, own.types
        if self._dwarf is None:
            return None
        name = self._executable.functions.full_name(function.function.index)
        signature = self._dwarf.signature(name, function.function.entry)
        return None if signature is None else (signature, self._dwarf.types)


def describe_all(targets: Targets, plans: Sequence[ProbePlan], written: Sequence[str]) -> list[Described]:
    """One per executable. Raises UsageError, also for a signature of a function that is not traced."""
    found = [Described(executable, written) for executable in targets.executables]
    traced = {function.function.name for plan in plans for function in plan.functions}
    for name in {name for one in found for name in one.names} - traced:
        raise UsageError(
            f"--sig: {name} is not among the functions that are traced", "name it with -f as well"
        )
    return found


def filter_all(
    plans: Sequence[ProbePlan],
    described: Sequence[Described],
    text: str | None,
    labels: Sequence[str] = (),
) -> dict[int, FunctionFilter]:
    """The filters of all planned functions: an expression, and labels as KEY=VALUE.

    Raises UsageError, with a caret under what is wrong.
    """
    parts: list[Expression] = [label_is(written) for written in labels]
    parts += [parse(text)] if text is not None else []
    if not parts:
        return {}
    whole = parts[0]
    for part in parts[1:]:
        whole = Both(whole, part, True)
    needed = any(path.label is None for path in paths_of(whole))
    return {
        function: filter_of(whole, text or "", subject)
        for function, subject in _subjects(plans, described, "--filter", needed)
    }


def key_all(plans: Sequence[ProbePlan], described: Sequence[Described], text: str | None) -> dict[int, Key]:
    """What the rows of all planned functions are told apart by. Raises UsageError, with a caret."""
    if text is None:
        return {}
    path = parse_path(text, "--by")
    return {
        function: key_of(path, text, subject)
        for function, subject in _subjects(plans, described, "--by", path.label is None)
    }


def _subjects(
    plans: Sequence[ProbePlan], described: Sequence[Described], option: str, needed: bool
) -> Iterator[tuple[int, Subject]]:
    """FunctionPlan.id and what is known of every planned function; `needed`: what it takes must be."""
    for plan, known in zip(plans, described, strict=True):
        for function in plan.functions:
            found = known.of(function) if needed else known.bare(function)
            if found is None:
                raise UsageError(
                    f"{option}: nothing says what {function.function.name} takes",
                    "say it with --sig 'name(a int, b string) error'",
                )
            yield function.id, found
