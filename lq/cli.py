"""The command line: the root of `lq`, and how whatever goes wrong ends.

Owns: the list of commands. Never does what a command does: those are in `commands`, one module
a noun, each imported when it is asked for, since `lq push` must not pay for the others.
Invariant: what is expected to go wrong ends with a sentence, a hint and an exit code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lq import __version__
from lq.commands import common, failure
from lq.errors import LqError

COMMANDS = (
    *("serve", "push", "run", "items", "why", "history", "failures", "schedules", "cron"),
    *("apply", "reload"),
    *("queues", "scriptlets", "alerts", "endpoints", "config", "tokens", "secret"),
    *("import", "service"),
    *("listen", "trigger", "panel"),
    *("tail", "top", "export", "drain", "backup", "restore", "release", "doctor", "version"),
)
GROUPS = (
    *("items", "schedules", "queues", "scriptlets", "alerts", "endpoints", "config", "tokens"),
    *("secret", "import", "service"),
)
_MODULES = {"import": "takeover"}  # a word of Python
_EPILOG = (
    "Exit codes: 0 ok, 1 negative outcome, 2 usage, 3 not found, 4 not allowed, 5 conflict, "
    "6 daemon unreachable, 7 timed out."
)


class Lazy(TyperGroup):
    """The root group: a command's module is imported when the command is looked up."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name) for name in COMMANDS}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            return None
        module = import_module(f"lq.commands.{_MODULES.get(cmd_name, cmd_name)}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


def show_version(wanted: bool) -> None:
    if wanted:
        common.out(f"lq {__version__}")
        raise typer.Exit


root = common.app(
    cls=Lazy,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback(epilog=_EPILOG)
def lq(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A job queue and scheduler: push a job, and it is called at its time, signed and retried."""


def main() -> None:
    """Carry out the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:]
    if not arguments or (len(arguments) == 1 and arguments[0] in GROUPS):
        arguments.append("--help")
    try:
        command = typer.main.get_command(root)
        code = command(arguments, prog_name="lq", standalone_mode=False)
    except typer.TyperException as error:
        code = _refuse(error)
    except LqError as error:
        code = failure.explain(error)
    except (KeyboardInterrupt, typer.Abort):
        code = failure.INTERRUPTED
    sys.exit(code)


def _refuse(error: typer.TyperException) -> int:
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "lq"
    message = " ".join(error.format_message().removeprefix("Invalid value: ").split()).rstrip(".")
    failure.complain(message, f"`{path} --help` shows what it takes.")
    return failure.USAGE
