"""Real programs by each Go toolchain there is, against what `go tool nm` and the pc tables say."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import toolchains

from undergo.goexe.executable import GoExecutable
from undergo.goexe.layout import layout_from_table

pytestmark = [
    pytest.mark.skipif(not toolchains.commands(), reason="no Go toolchain: set UNDERGO_GO"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="builds for amd64 with this machine's linker"),
]
each_go = pytest.mark.parametrize("go", toolchains.commands(), ids=lambda go: toolchains.version(go))


@each_go
@pytest.mark.parametrize("mode", toolchains.MODES)
def test_functions_of_every_link_mode(go: str, mode: str, tmp_path: Path) -> None:
    """Every way of linking gives the program's functions, with files, lines and plausible ends."""
    if "external" in mode and shutil.which("gcc") is None:
        pytest.skip("external linking needs gcc")
    with GoExecutable.open(toolchains.build(go, tmp_path, mode)) as executable:
        functions = executable.functions
        add = functions.named("main.add")
        assert add is not None
        assert (Path(add.file).name, add.line) == ("main.go", 17)
        assert executable.code(add).endswith(b"\xc3")  # RET
        assert functions.named("main.each[...]") is not None
        move = functions.named("runtime.memmove")
        assert move is not None and move.assembly
        wrapper = functions.named("main.(*tile).area")
        assert wrapper is not None and wrapper.wrapper
        assert executable.build_mode.external == ("external" in mode)
        assert executable.build_mode.pie == ("pie" in mode)
        assert executable.build.go_version.startswith(toolchains.version(go))


@each_go
def test_addresses_equal_the_symbol_table(go: str, tmp_path: Path) -> None:
    """Every function's address has a symbol of its name, and no Go symbol in the text is missed."""
    program = toolchains.build(go, tmp_path, "plain")
    symbols = toolchains.symbols(go, program)
    with GoExecutable.open(program) as executable:
        functions = executable.functions
        unknown = [f.name for f in functions if f.entry not in symbols]
        assert unknown == []
        text = range(executable.moduledata.text, executable.moduledata.end_text)
        entries = set(functions.entries.tolist())
        missed = {name for at, names in symbols.items() if at in text and at not in entries for name in names}
        assert missed <= {"go:textfipsstart", "go:textfipsend"}


@each_go
@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_layout_from_dwarf_equals_the_table(go: str, machine: str, tmp_path: Path) -> None:
    """The table's row is what the program's own debug information says, on both machines."""
    with GoExecutable.open(toolchains.build(go, tmp_path, "plain", machine)) as executable:
        layout = executable.layout
        assert layout.source == "DWARF"
        assert executable.dwarf_version == (5 if executable.build.version >= (1, 25) else 4)
        table = layout_from_table(executable.build)
        fields = [name for name in type(layout).__slots__ if name != "source"]
        assert [getattr(table, name) for name in fields] == [getattr(layout, name) for name in fields]


@each_go
@pytest.mark.parametrize("mode", ["stripped", "pie"])
def test_inline_trees_are_as_long_as_the_pc_tables_say(go: str, mode: str, tmp_path: Path) -> None:
    """For every function, the number of inlined calls is one more than the largest index in PCDATA 2."""
    with GoExecutable.open(toolchains.build(go, tmp_path, mode)) as executable:
        functions, per_function = executable.functions, executable.inlined.per_function()
        wrong = [
            function.name
            for function in functions
            if per_function.get(function.index, 0)
            != 1 + max((value for *_, value in functions.pcdata(function, 2)), default=-1)
        ]
        assert wrong == []
        assert executable.inlined.only_inlined("main.tiny".__eq__) == {"main.tiny": 1}
        locked = functions.named("main.locked")
        assert locked is not None
        assert executable.inlined.callers("main.tiny") == {locked.index: 1}


@each_go
def test_the_wrapper_id_is_the_runtimes(go: str, tmp_path: Path) -> None:
    """The funcID of wrappers, as measured for each version."""
    known = {19: 21, 20: 21, 21: 21, 22: 22, 23: 22, 24: 22, 25: 23, 26: 23, 27: 23}
    with GoExecutable.open(toolchains.build(go, tmp_path, "stripped")) as executable:
        minor = executable.build.version[1]
        if minor not in known:
            pytest.skip(f"not measured for 1.{minor}")
        assert known[minor] == executable.functions.wrapper_id


@each_go
def test_sources_are_those_of_addr2line(go: str, tmp_path: Path) -> None:
    """Every stretch of code comes from the line that Go's tool says, also where it was inlined."""
    program = toolchains.build(go, tmp_path, "plain")
    with GoExecutable.open(program) as executable:
        functions = executable.functions
        rows = functions.select(lambda name: name.startswith(("main.", "fmt.", "sync.")) and "[" not in name)
        pcs = [
            pc for row in rows for start, end, _ in functions.pcln(functions[row]) for pc in (start, end - 1)
        ]
        found = [functions.source(pc) for pc in pcs]
    asked = "".join(f"{pc:#x}\n" for pc in pcs)
    command = [go, "tool", "addr2line", program]
    said = subprocess.run(
        command, input=asked, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    names, places = said.splitlines()[::2], said.splitlines()[1::2]
    assert len(pcs) > 1000
    assert list(zip(names, places, strict=True)) == [
        (source.function, f"{source.file}:{source.line}") for source in found if source
    ]


@each_go
@pytest.mark.parametrize("mode", ["plain", "pie"])
def test_the_source_of_inlined_code(go: str, mode: str, tmp_path: Path) -> None:
    """The function is the one whose code it is, the file and line are those of what was inlined into it."""
    with GoExecutable.open(toolchains.build(go, tmp_path, mode)) as executable:
        locked = executable.functions.named("main.locked")
        assert locked is not None
        found = [executable.functions.source(pc) for pc in range(locked.entry, locked.end)]
        assert {"main.locked"} == {source.function for source in found if source}
        text = toolchains.PROGRAM.splitlines()
        lines = {text.index("func tiny(a int) int { return a*3 + 1 }") + 1, text.index("\treturn sum") + 1}
        assert lines <= {source.line for source in found if source and source.file.endswith("main.go")}
        assert {"main.go", "mutex.go"} <= {Path(source.file).name for source in found if source}
        assert executable.functions.source(locked.end) is None
