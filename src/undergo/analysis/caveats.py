"""What there is to know about recordings before their figures are believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from undergo.analysis.ask import ask
from undergo.errors import RecordingError
from undergo.events.calls import Ledger
from undergo.plan.probe_plan import Issue
from undergo.recording.meta import Meta
from undergo.recording.reader import Recordings


def recorded_ledger(recordings: Recordings) -> Ledger | None:
    """The ledgers of all recordings added up; None if one has none. Raises RecordingError."""
    found = [
        _ledger(path, meta)
        for path, meta in zip(recordings.paths, recordings.metas, strict=True)
        if meta.ledger is not None
    ]
    if len(found) < len(recordings.metas):
        return None
    dropped: dict[str, int] = {}
    for one in found:
        for cause, count in one.dropped.items():
            dropped[cause] = dropped.get(cause, 0) + count
    counts = [sum(getattr(one, name) for one in found) for name in _COUNTS]
    return Ledger(**dict(zip(_COUNTS, counts, strict=True)), dropped=dropped)


_COUNTS = [field.name for field in fields(Ledger) if field.name != "dropped"]


def _ledger(path: str, meta: Meta) -> Ledger:
    given = meta.ledger or {}
    try:
        dropped = {str(cause): int(count) for cause, count in given["dropped"].items()}
        return Ledger(**{name: int(given[name]) for name in _COUNTS}, dropped=dropped)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RecordingError(f"{path}/meta.json is damaged: its ledger is not one") from None


def caveats(recordings: Recordings) -> list[Issue]:
    """What is missing from the recordings, or not certain, one line each; losses of hits are in the ledger."""
    with_calls = {row[0] for row in ask(recordings, "select distinct recording from calls")}
    found = []
    for number, (path, meta) in enumerate(zip(recordings.paths, recordings.metas, strict=True)):
        if not meta.closed:
            text = f"{path} is not closed: it is being recorded still, or was cut short; this is what it has so far"
            found.append(Issue(path, "not closed", text))
        elif meta.ledger is None:
            text = f"{path} has no ledger, for its recorder was killed: whether calls were lost is not known"
            found.append(Issue(path, "no ledger", text))
        if meta.dropped_segments:
            many = meta.dropped_segments
            gone = f"{many:,} oldest segments of {path} were" if many > 1 else f"oldest segment of {path} was"
            text = (
                f"the {gone} given up to stay within --rotate: the calls in there are missing,"
                " and count as their callers' own time"
            )
            found.append(Issue(path, "segments dropped", text))
        if number not in with_calls:
            what = "has no calls" if "calls" in meta.kept else "was made without calls"
            found.append(Issue(path, "no calls", f"{path} {what}"))
    return found


def recorded_issues(metas: Sequence[Meta]) -> list[Issue]:
    """What was said when the recordings were made, such as functions that could not be traced."""
    rows = [
        Issue(row.get("func", ""), row.get("kind", ""), row.get("message", ""))
        for meta in metas
        for row in meta.issues
    ]
    return list(dict.fromkeys(rows))
