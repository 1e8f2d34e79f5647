"""Times by call path: what each function spent itself, beneath which callers, and in which bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undergo.errors import RecordingError
from undergo.exports.loss import lossy
from undergo.exports.timeline import BINS, DEEPEST
from undergo.recording.reader import Recordings
from undergo.recording.tables import LOST_PATH

Ints = npt.NDArray[np.int64]
#: What stands for callers that were lost, and for reasons that were.
LOST: Final = "(callers lost)"
DEEPER: Final = "(more callers)"
REASON_LOST: Final = "(reason lost)"


@dataclass(frozen=True, slots=True)
class Stacks:
    """A tree of call paths, callers before callees. Times in ns, without those of recorded callees."""

    names: tuple[str, ...]  # of functions, LOST and DEEPER among them
    parent: Ints  # a node; -1: none
    func: Ints  # index in `names`
    calls: Ints
    wall: Ints
    bins: Ints  # by node, a column for each of BINS
    unsplit: Ints  # the part of `wall` of which no bins are known
    wait_node: Ints  # waits by reason, in no order: node, index in `reasons`, ns
    wait_reason: Ints
    wait_ns: Ints
    reasons: tuple[str, ...]
    negative: int  # nodes that would have had less than no time, because calls were lost

    @property
    def split(self) -> bool:
        """Whether any bins are known."""
        return bool(self.bins.any())


def stacks(recordings: Recordings) -> Stacks:
    """Adds up all calls."""
    tree = _Tree(recordings.connection)
    query = _Query(recordings.connection, lossy(recordings))
    calls, sums = _sums(query, tree)
    negative = int((sums < 0).any(axis=1).sum())
    sums = np.maximum(sums, 0)
    waits = _waits(query, tree, sums[:, -1])
    names = (*recordings.labels, LOST, DEEPER)
    named = np.where(tree.func >= 0, tree.func, len(recordings.labels))
    found = Stacks(names, tree.parent, named, calls, sums[:, 0], sums[:, 2:], sums[:, 1], *waits, negative)
    return _cut(found, DEEPEST)


def _sums(query: _Query, tree: _Tree) -> tuple[Ints, Ints]:
    """Calls by node, and times less those of callees: a row by node, with wall, unsplit and each of BINS."""
    own = query.own()
    nodes = tree.nodes(own["path"], own["func"])
    above = tree.has_caller(nodes)
    columns = ("wall", "unsplit", *BINS)
    sums = np.zeros((len(tree.parent), len(columns)), np.int64)
    for index, name in enumerate(columns):
        sums[nodes, index] = own[name]  # each node is there once
        # a callee's time is its caller's too: take it off there
        np.add.at(
            sums[:, index], tree.parent[nodes][above], -np.asarray(own[f"callee_{name}"], np.int64)[above]
        )
    for path, func, part in query.of_lost_paths():
        sums[tree.nodes([path], [func])[0]] -= part
    calls = np.zeros(len(tree.parent), np.int64)
    calls[nodes] = own["calls"]
    return calls, sums


def depths_of(parent: Ints) -> Ints:
    """How many callers each node has."""
    depths, at = (parent >= 0).astype(np.int64), parent
    while (above := at >= 0).any():  # twice as far up each time
        depths = depths + np.where(above, depths[at], 0)
        at = np.where(above, at[at], -1)
    return depths


def _cut(found: Stacks, deepest: int) -> Stacks:
    """The same with at most so many callers each: functions that have more are merged below DEEPER.

    Written out, paths take the square of their depth.
    """
    depths = depths_of(found.parent)
    deep, kept = np.flatnonzero(depths > deepest), np.flatnonzero(depths <= deepest)
    if not len(deep):
        return found
    at = np.where(depths > deepest, found.parent, np.arange(len(depths)))
    while (at[at] != at).any():
        at = at[at]
    merged, which = np.unique(at[deep] * len(found.names) + found.func[deep], return_inverse=True)
    tops, below = np.unique(merged // len(found.names), return_inverse=True)
    number = np.empty(len(depths), np.int64)
    number[kept] = np.arange(len(kept))
    number[deep] = len(kept) + len(tops) + which
    count = len(kept) + len(tops) + len(merged)

    def summed(values: Ints) -> Ints:
        sums = np.zeros((count, *values.shape[1:]), np.int64)
        np.add.at(sums, number, values)
        return sums

    parents = found.parent[kept]
    reasons = len(found.reasons)
    waits, same = np.unique(number[found.wait_node] * reasons + found.wait_reason, return_inverse=True)
    wait_ns = np.zeros(len(waits), np.int64)
    np.add.at(wait_ns, same, found.wait_ns)
    more_callers = np.full(len(tops), len(found.names) - 1)
    return replace(
        found,
        parent=np.concatenate([np.where(parents >= 0, number[parents], -1), number[tops], len(kept) + below]),
        func=np.concatenate([found.func[kept], more_callers, merged % len(found.names)]),
        calls=summed(found.calls),
        wall=summed(found.wall),
        bins=summed(found.bins),
        unsplit=summed(found.unsplit),
        wait_node=waits // reasons,
        wait_reason=waits % reasons,
        wait_ns=wait_ns,
    )


class _Tree:
    """Nodes: LOST first, then the paths by number, then functions right below LOST."""

    def __init__(self, con: Any) -> None:
        rows = con.execute("select path, coalesce(parent, -1) as parent, func from paths").fetchnumpy()
        lost = con.execute(
            f"select distinct func from calls where path = {LOST_PATH} order by func"
        ).fetchall()
        count = int(max(rows["path"], default=0)) + 1
        self.parent = np.full(count + len(lost), -1, np.int64)
        self.func = np.full(count + len(lost), -1, np.int64)
        parent = np.asarray(rows["parent"], np.int64)
        if not ((rows["path"] > LOST_PATH) & (parent < rows["path"]) & (parent >= -1)).all():
            raise _damaged()
        self.parent[rows["path"]] = parent
        self.func[rows["path"]] = rows["func"]
        self.parent[count:] = LOST_PATH
        self._of = {func: count + index for index, (func,) in enumerate(lost)}
        self.func[count:] = [func for (func,) in lost]

    def has_caller(self, nodes: Ints) -> Any:
        """Of which nodes the caller is a node of its own, not just known to have been lost."""
        parents = self.parent[nodes]
        return (parents >= 0) & (self.func[parents] >= 0)

    def nodes(self, paths: Any, funcs: Any) -> Ints:
        """The node of each path, or of the function whose callers are lost."""
        found = np.array(paths, np.int64)
        if len(found) and not 0 <= found.min() <= found.max() < len(self.parent):
            raise _damaged()
        funcs = np.asarray(funcs)
        for index in np.flatnonzero(found == LOST_PATH).tolist():
            found[index] = self._of[int(funcs[index])]
        return found


def _damaged() -> RecordingError:
    return RecordingError("the recording is damaged: its table of paths does not fit its calls")


class _Query:
    """SQL for sums per path, of calls and of what their callees have of them.

    A caller's bins contain its callees'. So what a caller spent itself is known only if its bins and theirs are; the
    ids of callers of which that is not so are in the table `unsplit`. Of callers whose record was lost nothing can be
    taken off. Where there is neither, as should be, all of it is one pass over the calls.
    """

    def __init__(self, con: Any, lossy: bool) -> None:
        self.con = con
        con.execute(
            "create or replace temp table unsplit as select id from calls where running_ns is null"
            " union select parent from calls where running_ns is null and parent <> 0"
        )
        some = con.execute("select count(*) from unsplit").fetchone()[0]
        known = "id not in (select id from unsplit)" if some else "true"
        caller_known = "parent not in (select id from unsplit)" if some else "true"
        caller = "parent <> 0 and parent in (select id from calls)" if lossy else "parent <> 0"
        self.joined = bool(some) or lossy
        self.flags = f"{known} as own_known, {caller_known} as caller_known, {caller} as has_caller"

    def own(self) -> Any:
        """Sums by path, and of what is to be taken off the caller's path."""
        if not self.joined:
            # every call has its split and, if its path has, its caller: each sum is its path's and its caller's alike
            plain = {"wall": "wall_ns", **{name: name for name in BINS}}
            columns = [_sum(value, "true", name) for name, value in plain.items()]
            found = self._by_path(columns, "calls")
            found["unsplit"] = np.zeros(len(found["path"]), np.int64)
            return found | {f"callee_{name}": found[name] for name in ("unsplit", *plain)}
        sums = [("wall", "wall_ns", "true"), ("unsplit", "wall_ns", "not own_known")]
        sums += [(name, name, "own_known") for name in BINS]
        below = [("wall", "wall_ns", "true"), ("unsplit", "wall_ns", "not caller_known")]
        below += [(name, name, "caller_known") for name in BINS]
        columns = [_sum(value, where, name) for name, value, where in sums]
        columns += [_sum(value, f"has_caller and {where}", f"callee_{name}") for name, value, where in below]
        return self._by_path(columns, f"(select *, {self.flags} from calls)")

    def _by_path(self, columns: Sequence[str], calls: str) -> Any:
        """Of calls that lost their callers, by function too."""
        return self.con.execute(
            f"select path, case when path = {LOST_PATH} then func else -1 end as func, count(*) as calls,"
            f" {', '.join(columns)} from {calls} group by all"
        ).fetchnumpy()

    def of_lost_paths(self) -> list[tuple[int, int, Ints]]:
        """Path and function of callers of which the callees' paths do not tell, and what is to be taken off."""
        columns = [_sum("c.wall_ns", "true", "wall"), _sum("c.wall_ns", "not c.caller_known", "unsplit")]
        columns += [_sum(f"c.{name}", "c.caller_known", name) for name in BINS]
        rows = self.con.execute(
            f"select p.path, p.func, {', '.join(columns)} from (select *, {self.flags} from calls where {_LOST}) c"
            " join calls p on c.parent = p.id group by p.path, p.func"
        ).fetchall()
        return [(path, func, np.array(row, np.int64)) for path, func, *row in rows]

    def waits(self) -> Any:
        """Sums by path and reason, and of what is to be taken off the caller's path."""
        if self.joined:
            rows = f"waits w join (select id, {self.flags} from calls) c on w.call = c.id"
        else:
            rows = "(select *, true as own_known, true as caller_known, true as has_caller from waits) w"
        return self.con.execute(
            "select w.path, case when w.path = 0 then w.func else -1 end as func, reason, "
            f"{_sum('ns', 'own_known', 'ns')}, {_sum('ns', 'has_caller and caller_known', 'callee_ns')}"
            f" from {rows} group by all"
        ).fetchnumpy()

    def waits_of_lost_paths(self) -> list[tuple[int, int, str, int]]:
        """Path and function of callers as in `of_lost_paths`, reason and ns."""
        found: list[tuple[int, int, str, int]] = self.con.execute(
            "select p.path, p.func, reason, sum(ns)::BIGINT from waits w"
            f" join (select *, {self.flags} from calls where {_LOST}) c on w.call = c.id and c.caller_known"
            " join calls p on c.parent = p.id group by all"
        ).fetchall()
        return found


#: Calls that have a caller, but no path that leads to its.
_LOST: Final = (
    f"parent <> 0 and (path = {LOST_PATH} or path in (select path from paths where parent = {LOST_PATH}))"
)


def _sum(value: str, where: str, name: str) -> str:
    return f"coalesce(sum({value}) filter (where {where}), 0)::BIGINT as {name}"


def _waits(query: _Query, tree: _Tree, waiting: Ints) -> tuple[Ints, Ints, Ints, tuple[str, ...]]:
    """Node, reason and ns of waits; what of `waiting` (ns by node) has no reason has that as its reason."""
    rows = query.waits()
    names, numbers = np.unique(np.asarray(rows["reason"], object).astype(str), return_inverse=True)
    reasons = (*names.tolist(), REASON_LOST)
    at = {name: number for number, name in enumerate(reasons)}
    nodes = tree.nodes(rows["path"], rows["func"])
    keys = [nodes * len(reasons) + numbers]
    ns = [np.asarray(rows["ns"], np.int64)]
    parents = tree.parent[nodes]
    above = tree.has_caller(nodes)
    keys.append(parents[above] * len(reasons) + numbers[above])
    ns.append(-np.asarray(rows["callee_ns"], np.int64)[above])
    for path, func, reason, part in query.waits_of_lost_paths():
        keys.append(tree.nodes([path], [func]) * len(reasons) + at.get(reason, len(names)))
        ns.append(np.array([-part], np.int64))
    distinct, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    summed = np.zeros(len(distinct), np.int64)
    np.add.at(summed, inverse, np.concatenate(ns))
    node = distinct // len(reasons)
    named = np.zeros(len(waiting), np.int64)
    np.add.at(named, node, np.maximum(summed, 0))
    # more by reason than in all: rows were lost, so that which reason has how much is not known
    kept = (summed > 0) & (named[node] <= waiting[node])
    named[named > waiting] = 0
    rest = np.flatnonzero(waiting > named)
    lost = np.full(len(rest), len(reasons) - 1)
    return (
        np.concatenate([node[kept], rest]),
        np.concatenate([distinct[kept] % len(reasons), lost]),
        np.concatenate([summed[kept], (waiting - named)[rest]]),
        reasons,
    )
