"""Everything that can go wrong in a way a user can act on.

    UndergoError                exit 1   (also the code of an unexpected failure)
     +- UsageError              exit 2   options, patterns, limits
     +- TargetError             exit 3   the executable or the process is not one we can trace
     |   +- NotElfError, NotGoError, ArchitectureError, TruncatedError, GoVersionError
     |   +- ProcessError        no such process, gone, another user's
     +- RecordingError          exit 3   a recording that cannot be read, or not be written
     +- PermissionDeniedError   exit 4   what it takes is not allowed to this user
     +- KernelError             exit 5   the kernel lacks a feature or refused a program

An error is one line that says what is wrong, and a hint that says what to do about it. Anything that is
not an UndergoError is a bug in undergo.
"""

from __future__ import annotations


class UndergoError(Exception):
    """A failure with one clear line for the user, and a hint what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(UndergoError):
    """The command line or the configuration asks for something that cannot be."""

    exit_code = 2


class TargetError(UndergoError):
    """The target is not one that can be traced."""

    exit_code = 3


class NotElfError(TargetError):
    """The file is not an ELF file."""


class NotGoError(TargetError):
    """The file is ELF, but was not built by Go."""


class ArchitectureError(TargetError):
    """The executable is for another machine."""


class TruncatedError(TargetError):
    """The file ends before the data it says it has, or its tables contradict each other."""


class GoVersionError(TargetError):
    """The Go version is older than 1.17, or unknown and without DWARF."""


class ProcessError(TargetError):
    """There is no such process, or it ended, or it is not readable."""


class PermissionDeniedError(UndergoError):
    """This user may not do what is needed."""

    exit_code = 4


class KernelError(UndergoError):
    """The kernel lacks a feature or refused a program; `detail` keeps its full words."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint)
        self.detail = detail


class RecordingError(UndergoError):
    """A recording cannot be read, or cannot be written where it was to go."""

    exit_code = 3
