"""Where in the source something is that the kernel side tells by its distance from one of our probes."""

from __future__ import annotations

from collections.abc import Sequence

from undergo.errors import TruncatedError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.function import Source
from undergo.plan.probe_plan import ProbePlan, Role


def birth_sites(plan: ProbePlan) -> tuple[int, ...]:
    """The addresses of an executable's birth probes, by their number."""
    return tuple(site.site.address for site in plan.runtime if site.role == Role.BIRTH)


class Sources:
    """Finds the source of an address: (executable, number of its birth probe, distance in bytes from that probe)."""

    def __init__(self, executables: Sequence[GoExecutable], plans: Sequence[ProbePlan]) -> None:
        self._tables = [executable.functions for executable in executables]
        self._sites = [birth_sites(plan) for plan in plans]
        self._known: dict[tuple[int, int, int], Source | None] = {}

    def __call__(self, executable: int, site: int, distance: int) -> Source | None:
        """None if no code is there, or its tables are damaged."""
        key = (executable, site, distance)
        if key not in self._known:
            try:
                address = self._sites[executable][site] + distance
                self._known[key] = self._tables[executable].source(address)
            except TruncatedError:
                self._known[key] = None
        return self._known[key]
