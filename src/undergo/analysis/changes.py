"""What changed from some recordings to others, and whether it is more than what changes anyway.

With enough calls every difference is "significant", for the calls of one minute resemble each other more than those of
the next. So it is not calls that are compared but stretches of time: each side is cut into slices, a figure is taken
in each, and the two sets of figures are compared by Welch's t-test. What varies from slice to slice is noise.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any, Final, Literal

from undergo.analysis.ask import BIN_COLUMNS, ask
from undergo.analysis.latencies import latencies
from undergo.analysis.selection import only
from undergo.events.calls import Latency
from undergo.recording.reader import Recordings

SLICES: Final = 16  # of each side; with several recordings, they share them
_LEAST_SLICES: Final = 5  # that must have calls, on each side, for noise to be known
_BINS: Final = tuple(name.removesuffix("_ns") for name in BIN_COLUMNS)
#: Figures of a function -> calls a slice must have, for its figure to be that of the others.
METRICS: Final[Mapping[str, int]] = {"mean": 5, "p50": 20, "p99": 100, **dict.fromkeys(_BINS, 5)}

#: "more" and "less" are beyond noise, "same" within; "unknown": too few slices to know the noise.
Verdict = Literal["more", "less", "same", "unknown"]

# Two-sided 99.9 % points of Student's t, by degrees of freedom; between two the smaller number of degrees counts.
_T: Final[Mapping[int, float]] = {
    1: 636.62, 2: 31.60, 3: 12.93, 4: 8.61, 5: 6.87, 6: 5.96, 7: 5.41, 8: 5.05, 9: 4.79, 10: 4.59, 11: 4.44,
    12: 4.32, 13: 4.23, 14: 4.14, 15: 4.08, 16: 4.02, 18: 3.92, 20: 3.85, 22: 3.80, 25: 3.73, 30: 3.65,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """A function before, or after. Times in ns."""

    calls: int
    panics: int
    mean: float
    p50: float
    p99: float
    bins: Mapping[str, float] | None  # per call, by bin; None: not known of any call


@dataclass(frozen=True, slots=True)
class Change:
    """One function. Without `before` or `after` it was not called then; or not recorded, as `recorded` has it."""

    name: str
    before: Side | None
    after: Side | None
    verdicts: Mapping[str, Verdict]  # by METRICS; of bins only where both sides have them
    recorded: tuple[bool, bool] = (True, True)  # before, after

    def difference(self, metric: str) -> float | None:
        """After less before, in ns; None if one of them is not known."""
        sides = [value_of(side, metric) if side else None for side in (self.before, self.after)]
        return None if sides[0] is None or sides[1] is None else sides[1] - sides[0]


def value_of(side: Side, metric: str) -> float | None:
    """One of METRICS of one side, in ns; None if it is not known."""
    if metric in _BINS:
        return None if side.bins is None else side.bins[metric]
    return float(getattr(side, metric))


def changes(recordings: Recordings, before: int, functions: Sequence[int] | None = None) -> list[Change]:
    """Compares the first `before` of the recordings with the others, function by function.

    Those with a mean beyond noise come first, and those before others that changed by more time in all.
    """
    sides = (range(before), range(before, len(recordings.paths)))
    found = [latencies(recordings, functions=functions, of=side) for side in sides]
    sums = [dict(zip(one.funcs, one.rows, strict=True)) for one in found]
    slices = [_slices(recordings, side, functions) for side in sides]
    names = recordings.labels
    traced = [{row.name for number in side for row in recordings.metas[number].functions} for side in sides]
    rows = []
    for pair in _pairs(recordings, sums[0], sums[1]):
        old, new = (
            _side(one.get(func)) if func is not None else None for one, func in zip(sums, pair, strict=True)
        )
        samples = [
            one.get(func, {}) if func is not None else {} for one, func in zip(slices, pair, strict=True)
        ]
        verdicts = {}
        for metric in METRICS:
            known = [side is not None and value_of(side, metric) is not None for side in (old, new)]
            if all(known):
                verdicts[metric] = compare(samples[0].get(metric, ()), samples[1].get(metric, ()))
        func = next(func for func in pair if func is not None)
        before_too, after_too = (recordings.names[func] in side for side in traced)
        rows.append(Change(names[func], old, new, verdicts, (before_too, after_too)))
    return sorted(rows, key=_weight, reverse=True)


def compare(before: Sequence[float], after: Sequence[float]) -> Verdict:
    """Whether the figures of slices differ by more than they do among themselves."""
    if min(len(before), len(after)) < _LEAST_SLICES:
        return "unknown"
    difference = fmean(after) - fmean(before)
    errors = [variance(sample) / len(sample) for sample in (before, after)]
    error = sum(errors)
    if error == 0:
        return "same" if difference == 0 else "more" if difference > 0 else "less"
    degrees = error**2 / sum(
        one**2 / (len(sample) - 1) for one, sample in zip(errors, (before, after), strict=True)
    )
    if abs(difference) <= critical(degrees) * math.sqrt(error):
        return "same"
    return "more" if difference > 0 else "less"


def critical(degrees: float) -> float:
    """What t must exceed to come about by chance once in a thousand times, or less often."""
    known = sorted(_T)
    return _T[known[max(bisect_right(known, degrees) - 1, 0)]]


def _weight(row: Change) -> tuple[bool, float]:
    if row.before is None or row.after is None:
        one = row.before or row.after
        return False, one.mean * one.calls if one else 0.0
    difference = abs(row.after.mean - row.before.mean) * max(row.before.calls, row.after.calls)
    return row.verdicts["mean"] in ("more", "less"), difference


def _side(row: Latency | None) -> Side | None:
    ended = row.calls - row.open if row else 0
    if row is None or not ended:
        return None
    split, known = row.split, ended - row.unsplit
    bins = {bin: getattr(split, f"{bin}_ns") / known for bin in _BINS} if split and known else None
    return Side(row.calls, row.panics, row.sum_ns / ended, row.p50_ns, row.p99_ns, bins)


def _pairs(
    recordings: Recordings, before: Mapping[int, object], after: Mapping[int, object]
) -> list[tuple[int | None, int | None]]:
    """Functions of both sides: the same one, or, of executables of other names, the only ones of a name."""
    pairs: list[tuple[int | None, int | None]] = [(func, func) for func in before if func in after]
    names, alone = (
        recordings.names,
        [[f for f in one if f not in two] for one, two in ((before, after), (after, before))],
    )
    count = [Counter(names[func] for func in side) for side in alone]
    by_name = {names[func]: func for func in alone[1]}
    for func in alone[0]:
        twin = by_name.get(names[func]) if count[0][names[func]] == count[1][names[func]] == 1 else None
        pairs.append((func, twin))
    matched = {twin for _, twin in pairs}
    return [*pairs, *((None, func) for func in alone[1] if func not in matched)]


def _slices(
    recordings: Recordings, side: range, functions: Sequence[int] | None
) -> dict[int, dict[str, list[float]]]:
    """The figures of METRICS in each slice that has calls enough, by function."""
    where = f"recording between {side.start} and {side.stop - 1}"
    bounds = ask(
        recordings, f"select recording, min(start_ns), max(start_ns) from calls where {where} group by all"
    )
    if not bounds:
        return {}
    of_each = max(SLICES // len(bounds), 2)
    number = " ".join(
        f"when {recording} then (start_ns - {first}) * {of_each} // {last - first + 1}"
        for recording, first, last in bounds
    )
    bins = ", ".join(f"avg({name})" for name in BIN_COLUMNS)
    rows = ask(
        recordings,
        f"select func, count(*), count(running_ns), avg(wall_ns), quantile_cont(wall_ns, [0.5, 0.99]), {bins}"
        f" from (select *, case recording {number} end as slice from calls"
        f" where {where} and {only('func', functions)} and ending <> 'open') group by func, recording, slice",
    )
    found: dict[int, dict[str, list[float]]] = {}
    for func, calls, known, mean, (p50, p99), *spent in rows:
        figures: dict[str, Any] = {
            "mean": mean,
            "p50": p50,
            "p99": p99,
            **dict(zip(_BINS, spent, strict=True)),
        }
        for metric, value in figures.items():
            if (known if metric in _BINS else calls) >= METRICS[metric]:
                found.setdefault(func, {}).setdefault(metric, []).append(float(value))
    return found
