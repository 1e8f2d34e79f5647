"""The `undergo` command: finds the subcommand, imports only that, and turns errors into one clear line."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from undergo import __version__
from undergo.errors import UndergoError, UsageError
from undergo.views.style import escape

#: Name -> one-line help; static, so that --help imports no command.
COMMANDS = {
    "list": "functions of an executable, and which of them can be traced",
    "inspect": "what a Go executable says about itself",
    "doctor": "what this kernel and this user can do",
    "trace": "a live call tree per goroutine",
    "states": "what goroutines do: running, waiting and for what, born, dead",
    "latency": "how long calls take, per function, summed up in the kernel",
    "record": "every call and change of state into a directory, to look at later",
    "export": "recordings in the formats of other tools: Perfetto, pprof, flame graphs, ...",
    "report": "recordings: how long calls took, and what changed between two",
    "graph": "recordings: the merged call graph, with where its time went",
    "explain": "recordings: the story of one call, and of who kept it waiting",
    "sql": "recordings: any question, in SQL",
    "config": "write a file for -c: programs, functions, addresses",
}


def commands() -> list[click.Command]:
    """All of them, imported."""
    return [_command(name) for name in COMMANDS]


def _command(name: str) -> click.Command:
    command: click.Command = import_module(f"undergo.cli.{name}_command").command
    return command


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return _command(name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # whoever read our output has seen enough; keep the interpreter from complaining at its end
            sys.stdout = None
            raise click.exceptions.Exit(0) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="undergo")
def group() -> None:
    """Show what a running Go program undergoes: its calls, and where their time goes.

    \b
    Examples:
      undergo latency -p 4711 -f 'main.*'        percentiles per function, until Ctrl-C
      undergo trace -f 'main.*' -- ./server -v   a call tree from the first instruction
      undergo list -e ./server -f '*Handler*'    what could be traced
    """


def main() -> None:
    """Entry point. Exit codes: 0 success, 2 usage, 3 target, 4 permission, 5 kernel, 1 anything else."""
    try:
        group.main(prog_name="undergo", standalone_mode=False)
    except UndergoError as error:
        fail(error)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("undergo: interrupted", file=sys.stderr)
        sys.exit(130)
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # click 8.2 and later
            error.show()
            sys.exit(error.exit_code)
        where = error.ctx.command_path if error.ctx else "undergo"
        fail(UsageError(error.format_message(), f"see {where} --help"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def fail(error: UndergoError) -> None:
    """One line that says what is wrong, one that says what to do; then the documented exit code."""
    print(f"undergo: {escape(error.message)}", file=sys.stderr)
    if error.hint:
        for line in error.hint.splitlines():
            print(f"         {escape(line)}", file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
