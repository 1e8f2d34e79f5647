"""Where the Go runtime keeps what we read: byte offsets inside runtime.g and runtime.m."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuntimeLayout:
    """Byte offsets in `runtime.g` and `runtime.m` of one executable, and where they were learned."""

    g_stack_lo: int
    g_stack_hi: int
    g_m: int
    g_sched_sp: int
    g_atomicstatus: int
    g_goid: int
    g_waitsince: int
    g_waitreason: int
    g_parent_goid: int | None  # 1.21 and later
    g_gopc: int
    g_startpc: int
    g_labels: int
    m_g0: int
    m_procid: int
    m_curg: int
    source: str  # "DWARF" or "table (go1.24)"
