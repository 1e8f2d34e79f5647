"""The tables of a recording: which columns each has, of which SQL type.

All integers are signed, since engines read unsigned ones as decimals. NULL is what is not known; it is never 0.
docs/recording-format.md says what they mean.
"""

from __future__ import annotations

from typing import Final

TABLES: Final[dict[str, dict[str, str]]] = {
    "calls": {
        "id": "BIGINT",
        "parent": "BIGINT",
        "func": "INTEGER",
        "path": "INTEGER",
        "pid": "INTEGER",
        "tid": "INTEGER",
        "goid": "BIGINT",
        "depth": "INTEGER",
        "start_ns": "BIGINT",
        "wall_ns": "BIGINT",
        "ending": "VARCHAR",
        "running_ns": "BIGINT",
        "descheduled_ns": "BIGINT",
        "syscall_ns": "BIGINT",
        "runnable_ns": "BIGINT",
        "waiting_ns": "BIGINT",
    },
    "waits": {
        "call": "BIGINT",
        "func": "INTEGER",
        "path": "INTEGER",
        "pid": "INTEGER",
        "goid": "BIGINT",
        "reason": "VARCHAR",
        "ns": "BIGINT",
    },
    "captures": {
        "call": "BIGINT",
        "func": "INTEGER",
        "place": "VARCHAR",
        "position": "INTEGER",
        "name": "VARCHAR",
        "type": "VARCHAR",
        "value": "VARCHAR",
        "text": "VARCHAR",
    },
    "states": {
        "ts_ns": "BIGINT",
        "pid": "INTEGER",
        "tid": "INTEGER",
        "goid": "BIGINT",
        "before": "VARCHAR",
        "after": "VARCHAR",
        "reason": "VARCHAR",
        "waker": "BIGINT",
        "spent_ns": "BIGINT",
    },
    "births": {
        "ts_ns": "BIGINT",
        "pid": "INTEGER",
        "tid": "INTEGER",
        "goid": "BIGINT",
        "parent": "BIGINT",
        "statement": "INTEGER",
        "start": "INTEGER",
    },
    "paths": {"path": "INTEGER", "parent": "INTEGER", "func": "INTEGER", "depth": "INTEGER"},
    "places": {"place": "INTEGER", "function": "VARCHAR", "file": "VARCHAR", "line": "INTEGER"},
}

#: Tables of which the last segment's file has all rows, those of earlier segments included.
CUMULATIVE: Final = ("paths", "places")

#: The path of calls whose callers are not known, because the record of one was lost.
LOST_PATH: Final = 0
