"""Type descriptors of real executables, found without debug information."""

from __future__ import annotations

import pytest

from tests.conftest import Build
from undergo.goexe.executable import GoExecutable
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import Kind


@pytest.mark.parametrize("go", ["1.19", "1.21", "1.24", "1.25", "1.27"])
@pytest.mark.parametrize("pie", [False, True], ids=["plain", "pie"])
def test_types_are_found_by_their_names(build: Build, go: str, pie: bool) -> None:
    """Named ones, of the program and of the library, and what they are made of."""
    with GoExecutable.open(build("labelled", go, stripped=True, pie=pie)) as executable:
        types = RuntimeTypes(executable)
        kinds = {
            "error": Kind.INTERFACE,
            "[]uint8": Kind.SLICE,
            "*os.PathError": None,
            "*fs.PathError": Kind.POINTER,
            "fs.PathError": Kind.STRUCT,
            "context.Context": Kind.INTERFACE,
            "time.Time": Kind.STRUCT,
            "struct {}": Kind.STRUCT,
        }
        found = {name: types.named(name) for name in kinds}
        assert kinds == {name: None if at is None else types[at].kind for name, at in found.items()}
        error = types[found["fs.PathError"] or 0]
        assert ["Op", "Path", "Err"] == [field.name for field in error.fields]
        assert [0, 16, 32] == [field.offset for field in error.fields]
        assert types.named("error") == error.fields[2].type
