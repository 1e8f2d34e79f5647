#!/usr/bin/env python3
"""Make src/undergo/goexe/layout_table.json: compile a tiny program with each Go toolchain and read its DWARF.

    tools/make_layout_table.py GO [GO ...] [--verified FILE] [--check] [-o FILE]

GO is a `go` command. `--verified FILE` fills minor versions for which no toolchain was given from a JSON
file of the form {"1.17": {"amd64": {"g": {field: offset}, "m": {...}}}}; each row's origin is recorded.
With `--check` the measured rows are also compared with that file and nothing is written if they differ.
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

from undergo.goexe.dwarf import Dwarf
from undergo.goexe.elf import ElfImage
from undergo.goexe.layout import G_MEMBERS, M_MEMBERS

TABLE = Path(__file__).resolve().parent.parent / "src/undergo/goexe/layout_table.json"
PROGRAM = 'package main\n\nfunc main() { println("hello") }\n'
MACHINES = ("amd64", "arm64")


def measure(go: str) -> tuple[str, dict[str, Any]]:
    """The minor version of a toolchain and its row; both machines must agree."""
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
    if rows[0] != rows[1]:
        raise SystemExit(f"{version}: the layouts of {' and '.join(MACHINES)} differ")
    minor = ".".join(version.removeprefix("go").split(".")[:2])
    return minor, {"origin": f"DWARF of {version}", **rows[0]}


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
    parser.add_argument("--check", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    options = parser.parse_args()
    versions = dict(measure(go) for go in options.go)
    verified = json.loads(options.verified.read_text()) if options.verified else {}
    wrong = []
    for minor, machines in verified.items():
        row = {name: pick(machines["amd64"][name], name) for name in ("g", "m")}
        if minor not in versions:
            versions[minor] = {"origin": "verified values, no toolchain at hand", **row}
        elif options.check and row != {name: versions[minor][name] for name in ("g", "m")}:
            wrong.append(minor)
    if wrong:
        raise SystemExit(f"measured and verified values differ: {', '.join(wrong)}")
    ordered = dict(sorted(versions.items(), key=lambda item: int(item[0].split(".")[1])))
    comment = "byte offsets in runtime.g and runtime.m by Go version, made by tools/make_layout_table.py"
    options.output.write_text(json.dumps({"comment": comment, "versions": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
