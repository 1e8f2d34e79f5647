"""What `--dry-run` shows: every address that would be probed, what is there, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from undergo.plan.probe_plan import FunctionPlan, Issue, ProbePlan, Site
from undergo.views.style import PLAIN, Palette, escape

_WHAT = 40  # columns of an instruction


def dry_run_lines(plans: Sequence[ProbePlan], style: Palette = PLAIN) -> Iterator[str]:
    """The plans of all executables, then the issues, then the totals."""
    for plan in plans:
        for function in plan.functions:
            yield from _function(function, style)
        if plan.runtime:
            yield style.paint(style.strong, "Go runtime")
            for site in plan.runtime:
                yield _site(site.role.value, site.site, f"{site.function.name}: {site.site.why}", style)
            yield ""
    issues = [issue for plan in plans for issue in plan.issues]
    if issues:
        yield style.paint(style.strong, "Not as asked")
        yield from (issue_line(issue, style) for issue in issues)
        yield ""
    yield _totals(plans)


def issue_line(issue: Issue, style: Palette = PLAIN) -> str:
    """One line for an issue."""
    return f"  {style.paint(style.warm, escape(issue.kind))}  {escape(issue.func)}: {escape(issue.message)}"


def _function(plan: FunctionPlan, style: Palette) -> Iterator[str]:
    function = plan.function
    where = f"  {escape(function.file)}:{function.line}" if function.file else ""
    yield style.paint(style.strong, escape(function.name)) + style.paint(style.dim, where)
    yield _site("entry", plan.entry, plan.entry.why, style)
    for site in plan.exits:
        yield _site("exit", site, site.why, style)
    if not plan.exits:
        yield style.paint(style.dim, "  no exit: it never returns")
    yield ""


def _site(role: str, site: Site, why: str, style: Palette) -> str:
    how = style.paint(style.good, "emulated") if site.emulated else style.paint(style.warm, "stepped ")
    flags = "|".join(flag.name or "" for flag in site.flags)
    why = escape(why) + (f" [{flags}]" if flags else "")
    what = f"{role:19} {site.address:#12x}  {how}  {escape(site.text):{_WHAT}}"
    return f"  {what}  {style.paint(style.dim, why)}".rstrip()


def _totals(plans: Sequence[ProbePlan]) -> str:
    sites = [site for plan in plans for f in plan.functions for site in (f.entry, *f.exits)]
    sites += [r.site for plan in plans for r in plan.runtime]
    functions = sum(len(plan.functions) for plan in plans)
    emulated = sum(site.emulated for site in sites)
    return (
        f"{functions:,} function{'' if functions == 1 else 's'}, {len(sites):,} probes: "
        f"{emulated:,} emulated, {len(sites) - emulated:,} single-stepped; nothing was attached"
    )
