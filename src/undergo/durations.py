"""How durations are written: 500us, 1.5ms, 2m."""

from __future__ import annotations

from typing import Final

#: ns of each unit.
UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
