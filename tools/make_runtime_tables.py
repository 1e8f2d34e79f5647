#!/usr/bin/env python3
"""Make layout_table.json and wait_reasons.json of src/undergo/goexe.

A tiny program is compiled with each Go toolchain, and its DWARF and its runtime.waitReasonStrings are read:

    tools/make_runtime_tables.py GO [GO ...] [--verified FILE] [--reasons FILE] [--check] [-o FOLDER]

GO is a `go` command. `--verified FILE` fills minor versions for which no toolchain was given from a JSON
file of the form {"1.17": {"amd64": {"g": {field: offset}, "m": {...}}}}; each row's origin is recorded.
`--reasons FILE` does the same for wait reasons: {"1.17": {"runtime.waitReasonStrings": {"strings": [...]}}}.
With `--check` the measured rows are also compared with those files and nothing is written if they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from elftools.elf.elffile import ELFFile

from undergo.goexe.dwarf import Dwarf
from undergo.goexe.elf import ElfImage
from undergo.goexe.layout import G_MEMBERS, M_MEMBERS

FOLDER = Path(__file__).resolve().parent.parent / "src/undergo/goexe"
PROGRAM = 'package main\n\nfunc main() { println("hello") }\n'
MACHINES = ("amd64", "arm64")
MADE = "made by tools/make_runtime_tables.py"


def measure(go: str) -> tuple[str, dict[str, Any], list[str]]:
    """The minor version of a toolchain, its layout and its wait reasons; both machines must agree."""
    version = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=True
    ).stdout.strip()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "main.go")
        source.write_text(PROGRAM)
        for machine in MACHINES:
            binary = Path(folder, machine)
            environment = os.environ | {"GOARCH": machine, "CGO_ENABLED": "0", "GO111MODULE": "auto"}
            environment |= {"GOTOOLCHAIN": "local", "GOFLAGS": ""}
            subprocess.run([go, "build", "-o", binary, source], check=True, env=environment, cwd=folder)
            with ElfImage.open(binary) as elf:
                rows.append({name: pick(Dwarf(elf).members(f"runtime.{name}"), name) for name in ("g", "m")})
                reasons = wait_reasons(elf, binary)
    if rows[0] != rows[1]:
        raise SystemExit(f"{version}: the layouts of {' and '.join(MACHINES)} differ")
    minor = ".".join(version.removeprefix("go").split(".")[:2])
    return minor, {"origin": f"DWARF of {version}", **rows[0]}, reasons


def wait_reasons(elf: ElfImage, binary: Path) -> list[str]:
    """runtime.waitReasonStrings: an array of (pointer, length)."""
    with binary.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        (array,) = symbols.get_symbol_by_name("runtime.waitReasonStrings")
        start, size = array["st_value"], array["st_size"]
    pairs = [(elf.pointer(at), elf.pointer(at + 8)) for at in range(start, start + size, 16)]
    return [elf.read(text, length).decode() if length else "" for text, length in pairs]


def pick(members: dict[str, int], name: str) -> dict[str, int]:
    """The fields that a layout needs, those there are."""
    wanted = (G_MEMBERS if name == "g" else M_MEMBERS).values()
    return {field: members[field] for field in wanted if members.get(field) is not None}


def main() -> None:
    """Read the command line, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("go", nargs="+")
    parser.add_argument("--verified", type=Path)
    parser.add_argument("--reasons", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    measured = [measure(go) for go in options.go]
    layouts = {minor: layout for minor, layout, _ in measured}
    reasons = {minor: strings for minor, _, strings in measured}
    wrong = []
    for minor, machines in known(options.verified).items():
        row = {name: pick(machines["amd64"][name], name) for name in ("g", "m")}
        if minor not in layouts:
            layouts[minor] = {"origin": "verified values, no toolchain at hand", **row}
        elif options.check and row != {name: layouts[minor][name] for name in ("g", "m")}:
            wrong.append(f"layout of {minor}")
    for minor, arrays in known(options.reasons).items():
        strings = arrays["runtime.waitReasonStrings"]["strings"]
        if minor not in reasons:
            reasons[minor] = strings
        elif options.check and strings != reasons[minor]:
            wrong.append(f"wait reasons of {minor}")
    if wrong:
        raise SystemExit(f"measured and verified values differ: {', '.join(wrong)}")
    offsets = "byte offsets in runtime.g and runtime.m by Go version"
    write(
        options.output / "layout_table.json", {"comment": f"{offsets}, {MADE}", "versions": by_age(layouts)}
    )
    texts = "runtime.waitReasonStrings by Go version: what g.waitreason means"
    write(options.output / "wait_reasons.json", {"comment": f"{texts}, {MADE}", "versions": by_age(reasons)})


def known(path: Path | None) -> dict[str, Any]:
    """A file of verified values; none if none is named."""
    return dict(json.loads(path.read_text())) if path else {}


def by_age(rows: dict[str, Any]) -> dict[str, Any]:
    """Oldest version first."""
    return dict(sorted(rows.items(), key=lambda item: int(item[0].split(".")[1])))


def write(path: Path, table: dict[str, Any]) -> None:
    """The table, indented by one."""
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
