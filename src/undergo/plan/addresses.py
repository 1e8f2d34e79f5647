"""Whether addresses somebody wrote down are still those of a function: its entry, its returns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undergo.goexe.instructions import decode, text
from undergo.plan.probe_plan import CookieFlag, FunctionPlan, Site

if TYPE_CHECKING:
    from undergo.goexe.executable import GoExecutable


@dataclass(frozen=True, slots=True)
class Stale:
    """An address that is not what it was taken for."""

    address: int | None  # None: one is missing
    message: str  # with the right value
    of_entry: bool = False  # else of a return


def returns(function: FunctionPlan) -> tuple[int, ...]:
    """The addresses of its RETs, in order; jumps to other functions, where it ends too, are not among them."""
    return tuple(site.address for site in _ends(function) if site.text.startswith("ret"))


def _ends(function: FunctionPlan) -> tuple[Site, ...]:
    return (function.entry,) if function.entry.flags & CookieFlag.BARE_RET else function.exits


def stale(
    executable: GoExecutable, function: FunctionPlan, entry: int | None, rets: Collection[int]
) -> Iterator[Stale]:
    """What is wrong with addresses of this function; None and () say that they are not given.

    An entry is the function's first instruction or the one undergo probes, a return any of its RETs, each as a
    link-time virtual address or as an offset in the file. Returns that are given must be all there are.
    """
    name = function.function.name
    first, probed = function.function.entry, function.entry.address
    if entry is not None and entry not in _ways(executable, first) | _ways(executable, probed):
        message = f"{name} begins at {first:#x}; {entry:#x} is {_place(executable, entry)}"
        yield Stale(entry, message, of_entry=True)
    if not rets:
        return
    known = {way: site.address for site in _ends(function) for way in _ways(executable, site.address)}
    right = ", ".join(map(hex, returns(function))) or "nowhere"
    for address in rets:
        if address not in known:
            yield Stale(address, f"{name} returns at {right}; {address:#x} is {_place(executable, address)}")
    missing = set(returns(function)) - {known[address] for address in rets if address in known}
    if missing:
        yield Stale(
            None, f"{name} returns at {right}; {', '.join(map(hex, sorted(missing)))} is not in the list"
        )


def _ways(executable: GoExecutable, address: int) -> set[int]:
    """How an address can be written: as such, or as an offset in the file."""
    return {address, executable.file_offset(address)}


def _place(executable: GoExecutable, address: int) -> str:
    """What stands at an address, in words."""
    function = executable.functions.find(address)
    if function is None:
        return "in no function"
    distance = address - function.entry
    if not distance:
        return f"the first instruction of {function.name}"
    found = next((i for i in decode(executable.code(function), function.entry) if i.next_ip > address), None)
    what = f"`{text(found)}`" if found is not None and found.ip == address else "inside an instruction"
    return f"{what} at {function.name}+{distance:#x}"
