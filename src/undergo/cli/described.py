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
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.signature import parse_signature
from undergo.goexe.types import Signature, Types
from undergo.kernel.session import MAX_KEYS
from undergo.plan.filter_expression import parse, parse_path
from undergo.plan.filters import FunctionFilter, Key, filter_of, key_of
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


by_options = chain(
    click.option(
        "--by", "by_text", metavar="PATH", help="a row for each value of this argument: req.URL.Path"
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
        self._known: dict[int, tuple[Signature, Types] | None] = {}  # by row of the function table

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

    def of(self, function: FunctionPlan) -> tuple[Signature, Types] | None:
        """The signature and what its types are made of. Raises TruncatedError where that is damaged."""
        row = function.function.index
        if row not in self._known:
            self._known[row] = self._look_up(function)
        return self._known[row]

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
    plans: Sequence[ProbePlan], described: Sequence[Described], text: str | None
) -> dict[int, FunctionFilter]:
    """The filters of all planned functions. Raises UsageError, with a caret under what is wrong."""
    if text is None:
        return {}
    expression = parse(text)
    return {
        function: filter_of(expression, text, signature, types, name)
        for function, signature, types, name in _signatures(plans, described, "--filter")
    }


def key_all(plans: Sequence[ProbePlan], described: Sequence[Described], text: str | None) -> dict[int, Key]:
    """What the rows of all planned functions are told apart by. Raises UsageError, with a caret."""
    if text is None:
        return {}
    path = parse_path(text)
    return {
        function: key_of(path, text, signature, types, name)
        for function, signature, types, name in _signatures(plans, described, "--by")
    }


def _signatures(
    plans: Sequence[ProbePlan], described: Sequence[Described], option: str
) -> Iterator[tuple[int, Signature, Types, str]]:
    """FunctionPlan.id, signature and name of every planned function, which must have one."""
    for plan, known in zip(plans, described, strict=True):
        for function in plan.functions:
            found = known.of(function)
            if found is None:
                raise UsageError(
                    f"{option}: nothing says what {function.function.name} takes",
                    "say it with --sig 'name(a int, b string) error'",
                )
            yield function.id, *found, function.function.name
