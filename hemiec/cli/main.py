"""The `hemiec` command."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from hemiec import __version__

#: Command to the module that holds it; modules are imported when the command is used, so `--help` is quick.
_COMMANDS = {
    "doctor": "hemiec.cli.doctor",
    "db": "hemiec.cli.database",
    "config": "hemiec.cli.config",
    "protocols": "hemiec.cli.protocols",
    "references": "hemiec.cli.references",
    "space": "hemiec.cli.space",
    "sqs": "hemiec.cli.sqs",
    "run": "hemiec.cli.campaigns",
    "submit": "hemiec.cli.campaigns",
    "work": "hemiec.cli.launch",
    "launch": "hemiec.cli.launch",
    "status": "hemiec.cli.jobs",
    "errors": "hemiec.cli.jobs",
    "reconcile": "hemiec.cli.jobs",
    "rerun": "hemiec.cli.jobs",
    "cancel": "hemiec.cli.jobs",
    "pause": "hemiec.cli.jobs",
    "resume": "hemiec.cli.jobs",
    "promote": "hemiec.cli.jobs",
    "build": "hemiec.cli.build",
    "calibrate": "hemiec.cli.calibrate",
    "query": "hemiec.cli.query",
    "show": "hemiec.cli.show",
    "rank": "hemiec.cli.results",
    "snapshots": "hemiec.cli.snapshots",
    "diff": "hemiec.cli.diff",
    "serve": "hemiec.cli.serve",
    "export": "hemiec.cli.exchange",
    "import": "hemiec.cli.exchange",
    "demo-data": "hemiec.cli.demo",
}
#: Commands whose function has another name, as theirs is a word of Python.
_FUNCTIONS = {"import": "import_command", "demo-data": "demo_data"}


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name]), _FUNCTIONS.get(cmd_name, cmd_name))
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from hemiec.errors import did_you_mean

        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}; {did_you_mean(args[0], _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hemiec")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Screen high-entropy perovskite mixed ionic-electronic conductors.

    \b
    Example:
      hemiec run flows/quickstart.yaml     everything, here, to a leaderboard
      hemiec rank                          the leaderboard again
    """


def main() -> None:
    """Run the command line; errors become one line on stderr."""
    from hemiec.cli.errors import run_guarded

    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    # Accepted anywhere on the line.
    sys.argv[1:] = [argument for argument in arguments if argument != "--debug"]
    sys.exit(run_guarded(cli.main, debug=debug))


if __name__ == "__main__":
    main()
