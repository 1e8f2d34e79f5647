"""Functions that must not be traced: those in which "this goroutine is in this call" has no meaning.

They change the stack or the goroutine under their own feet, run on another stack for the running goroutine, or
run before there is a goroutine. Their frames could not be closed, or would close the frames of others.
Names are of runtime/{asm_amd64.s,proc.go,stack.go,preempt.go,signal_unix.go,cgocall.go}, Go 1.17 to 1.27.
"""

from __future__ import annotations

import re
from typing import Final

_SWITCHES = "it switches stacks or goroutines under its own call"
_SCHEDULER = "it belongs to the scheduler: it runs on the thread's stack and does not return to its caller"
_SIGNAL = "it runs on the signal stack"
_START = "it runs before there is a goroutine, or is the last thing that one runs"
_CGO = "it carries the goroutine between Go's stack and C's"

_OWN_CONVENTION = "it has a calling convention of its own"

_REASONS: Final[dict[str, str]] = {
    r"(runtime\.)?(gogo|gosave_systemstack_switch|mcall|systemstack|systemstack_switch)": _SWITCHES,
    r"runtime\.(morestack\w*|newstack|switchToCrashStack\w*|asyncPreempt\w*|recovery)": _SWITCHES,
    r"(runtime\.)?(debugCall\w*|callRet|call\d+|spillArgs|unspillArgs)": _OWN_CONVENTION,
    r"runtime\.(reflectcall|reflectcallmove|gcWriteBarrier\w*|wbBufFlush)": _OWN_CONVENTION,
    r"runtime\.(mstart\w*|schedule|execute|park_m|gosched_m|goschedImpl|goschedguarded_m)": _SCHEDULER,
    r"runtime\.(goexit0|gdestroy|preemptPark|gopreempt_m|goyield_m|coroswitch_m|sysmon|mexit)": _SCHEDULER,
    r"runtime\.(exitsyscall0|exitsyscallNoP|templateThread|exitThread|clone)": _SCHEDULER,
    r"runtime\.(sig(tramp\w*|return\w*|handler|fwd\w*|profNonGo\w*|FetchG)|cgoSigtramp)": _SIGNAL,
    r"runtime\.(adjustSignalStack|doSigPreempt|badsignal|raisebadsignal)": _SIGNAL,
    r"runtime\.sigpanic\w*": "it is entered by a signal, not by a call, and does not return",
    r"_?rt0_\w+|runtime\.(rt0_go(\.\w+)?|goexit1?|abort|check|args|osinit|schedinit|settls|asminit)": _START,
    r"_cgo\w*|x_cgo\w*|crosscall\w*": _CGO,
    r"runtime\.(cgocallback\w*|asmcgocall\w*|setg|setg_gcc|needm\w*|needAndBindM|dropm)": _CGO,
    # runtime/duff_amd64.s: the compiler calls into their middle, so an entry at the first byte sees almost nothing
    r"runtime\.duff(zero|copy)": "it is entered in its middle, at an offset that fits the size",
    r"runtime\.vdso\w+": "it runs on the thread's stack",
}
_PATTERNS: Final = [(re.compile(pattern), reason) for pattern, reason in _REASONS.items()]
_ANY: Final = re.compile("|".join(f"(?:{pattern})" for pattern in _REASONS))


def untraceable(name: str) -> str | None:
    """Why a function must not be traced; None if it can be."""
    if not _ANY.fullmatch(name):
        return None
    return next(reason for pattern, reason in _PATTERNS if pattern.fullmatch(name))
