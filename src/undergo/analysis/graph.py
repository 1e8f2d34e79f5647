"""The call graph: recorded calls merged by the functions they were called from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from undergo.analysis.ask import ask
from undergo.analysis.queries import BY_PATH
from undergo.events.calls import Split
from undergo.recording.reader import Recordings

CALLER_LOST = "(the caller's record was lost)"


@dataclass(frozen=True, slots=True)
class GraphRow:
    """All calls of one function that came about in one way. Times in ns."""

    names: tuple[str, ...]  # from the outermost caller shown to the function itself
    calls: int  # 0: none of it is recorded, only of what it called
    total_ns: int
    self_ns: int | None  # less the calls beneath; None: of a call beneath, the caller was not recorded
    split: Split | None  # of the calls it is known of, without waits
    unsplit_ns: int  # the total of the others
    last: bool  # of its siblings, as they are given
    left_out: int  # ways to call on from here that are not given

    @property
    def depth(self) -> int:
        """Callers above it."""
        return len(self.names) - 1


@dataclass(frozen=True, slots=True)
class Graph:
    """Rows depth first, the most time first. Outermost calls took `whole_ns` together."""

    rows: tuple[GraphRow, ...]
    whole_ns: int


def graph(
    recordings: Recordings,
    functions: Collection[int] | None = None,
    depth: int | None = None,
    min_share: float = 0.0,
) -> Graph:
    """Merges all calls; of `functions` only what begins there, whoever called them.

    Left out is what lies `depth` levels deep or deeper, or took less than `min_share` (0 to 1) of the whole.
    """
    top = _Node("")
    nodes = _place(recordings, top, functions)
    for path, func, calls, total, *spent, unknown in ask(recordings, BY_PATH):
        node = nodes.get(path)
        if node is None and path not in nodes:  # its path says nothing: all its callers are lost
            node = nodes.lost.of(func) if functions is None or func in functions else None
        if node is None:
            continue
        node.calls += calls
        node.total += int(total)
        node.unsplit += int(unknown or 0)
        if spent[0] is not None:
            node.spent = [known + int(more) for known, more in zip(node.spent or [0] * 5, spent, strict=True)]
    roots = [node for node in top.beneath.values() if node.calls or node.beneath]
    whole = sum(root.took() for root in roots)
    return Graph(tuple(_rows(roots, whole, depth, min_share)), whole)


@dataclass(slots=True)
class _Node:
    """One way to a function."""

    name: str
    beneath: dict[int, _Node] = field(default_factory=dict)  # by func
    calls: int = 0
    total: int = 0
    spent: list[int] | None = None
    unsplit: int = 0
    names: Sequence[str] = ()

    def of(self, func: int) -> _Node:
        """The node of a function called from here."""
        node = self.beneath.get(func)
        if node is None:
            node = self.beneath[func] = _Node(self.names[func], names=self.names)
        return node

    def took(self) -> int:
        """Its total; if it is not recorded, at least what is beneath it."""
        # A node that is not recorded is rare and next to what is: this does not go deep.
        return self.total if self.calls else sum(node.took() for node in self.beneath.values())


class _Nodes(dict[int, _Node | None]):
    """The node of each path; None where it is not shown."""

    lost: _Node


def _place(recordings: Recordings, top: _Node, functions: Collection[int] | None) -> _Nodes:
    """Makes a node for each way that functions were called: paths of several recordings may share one."""
    top.names = recordings.labels
    nodes = _Nodes()
    lost = _Node(CALLER_LOST, names=top.names)
    nodes.lost = top if functions is not None else lost
    for path, parent, func in ask(recordings, "select path, parent, func from paths order by path"):
        above = top if parent is None else nodes.get(parent)
        if parent is not None and parent not in nodes:
            above = nodes.lost
        if functions is not None and (above is None or above is top):
            # what leads to the functions asked for is not shown
            nodes[path] = top.of(func) if func in functions else None
        else:
            nodes[path] = above.of(func) if above is not None else None
    if functions is None:
        top.beneath[-1] = lost
    return nodes


def _rows(roots: Sequence[_Node], whole: int, depth: int | None, min_share: float) -> Iterator[GraphRow]:
    waiting: list[tuple[_Node, tuple[str, ...], bool]] = []

    def wait(nodes: Sequence[_Node], above: tuple[str, ...]) -> int:
        ordered = sorted(nodes, key=lambda node: (-node.took(), node.name))
        deep = depth is not None and len(above) >= depth
        kept = [] if deep else [node for node in ordered if node.took() >= min_share * whole]
        waiting.extend((node, above, at == 0) for at, node in enumerate(reversed(kept)))
        return len(ordered) - len(kept)

    wait(roots, ())
    while waiting:
        node, above, last = waiting.pop()
        names = (*above, node.name)
        left_out = wait(list(node.beneath.values()), names)
        own = node.total - sum(beneath.took() for beneath in node.beneath.values())
        yield GraphRow(
            names=names,
            calls=node.calls,
            total_ns=node.total,
            self_ns=own if own >= 0 and node.calls else None,
            split=None if node.spent is None else Split.of(node.spent, {}),
            unsplit_ns=node.unsplit,
            last=last,
            left_out=left_out,
        )
