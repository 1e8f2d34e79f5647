"""`undergo inspect`: what a Go executable says about itself."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack

import click

from undergo.cli.options import output_options, target_options
from undergo.cli.targets import open_targets
from undergo.errors import GoVersionError
from undergo.goexe.executable import GoExecutable
from undergo.target.config import Config
from undergo.views import jsonlines
from undergo.views.inspect import Group, inspect_lines
from undergo.views.style import palette


@click.command("inspect")
@target_options
@output_options
def command(
    pids: tuple[int, ...], executable: str | None, config: Config | None, as_json: bool, color: str
) -> None:
    """Show what a Go executable says about itself, and how undergo found what it needs.

    \b
    Examples:
      undergo inspect -e ./server
      undergo inspect -p 4711 --json
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets = open_targets(stack, pids, executable, (), config)
        for opened in targets.executables:
            groups = describe(opened)
            if as_json:
                facts = {group.title: dict(group.rows) for group in groups}
                text = jsonlines.executable(opened.display, facts)
            else:
                text = (
                    "\n".join(inspect_lines(groups, style, shutil.get_terminal_size((100, 40)).columns))
                    + "\n"
                )
            jsonlines.write_batch(sys.stdout.buffer, text)


def describe(exe: GoExecutable) -> list[Group]:
    """The facts, in groups."""
    build, mode = exe.build, exe.build_mode
    traits = ["PIE" if mode.pie else "static"]
    traits += ["cgo"] if mode.cgo else []
    traits += ["linked externally"] if mode.external else []
    traits += ["stripped"] if mode.stripped else ["with symbols"]
    traits += [f"PGO ({mode.pgo})"] if mode.pgo else []
    try:
        layout = exe.layout
        g_rows: tuple[tuple[str, str], ...] = (
            ("found by", layout.source),
            ("g.goid", str(layout.g_goid)),
            ("g.m", str(layout.g_m)),
            ("g.atomicstatus", str(layout.g_atomicstatus)),
            ("g.waitreason", str(layout.g_waitreason)),
            ("m.curg", str(layout.m_curg)),
        )
    except GoVersionError as error:
        g_rows = (("found by", f"not found: {error.message}"),)
    settings = build.settings
    return [
        Group(
            "program",
            (
                ("file", exe.display),
                ("Go", build.go_version),
                ("package", build.path),
                ("module", " ".join(filter(None, (build.module, build.module_version)))),
                (
                    "revision",
                    settings.get("vcs.revision", "")
                    + (" (modified)" if settings.get("vcs.modified") == "true" else ""),
                ),
                ("built", ", ".join(traits) + f", {mode.machine}"),
                ("build id", exe.build_id),
            ),
        ),
        Group(
            "functions",
            (
                ("count", f"{len(exe.functions):,}"),
                ("inlined", f"{sum(exe.inlined.counts.values()):,} places"),
                ("table", exe.pclntab_found),
                ("moduledata", exe.moduledata_found),
                ("text starts at", f"{exe.text_start:#x}"),
                ("DWARF", f"version {exe.dwarf_version}" if exe.dwarf_version else "none"),
            ),
        ),
        Group("runtime layout (byte offsets)", g_rows),
    ]
