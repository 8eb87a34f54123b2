"""From any error to one `error:` line and an exit code: 0 done, 1 failed, 2 bad usage or bad input."""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from hemiec.errors import HemiecError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def run_guarded(command: Callable[..., Any], *, debug: bool) -> int:
    """Run the command line and return its exit code; only ``debug`` shows tracebacks."""
    # A polite kill is treated as Ctrl-C, so that workers are stopped and the user is told how to go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = command(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _say("stopped.", INTERRUPTED)
    except click.UsageError as error:
        help_for = f" See `{error.ctx.command_path} --help`." if error.ctx else ""
        return _say(f"{error.format_message()}{help_for}", BAD_INPUT)
    except click.ClickException as error:
        return _say(error.format_message(), BAD_INPUT)
    except BrokenPipeError:  # `hemiec rank | head`
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _say(*_explain(error))


def _explain(error: Exception) -> tuple[str, int]:
    from pymongo.errors import PyMongoError

    if isinstance(error, HemiecError):
        return str(error), error.exit_code
    if isinstance(error, PyMongoError):
        return (
            f"MongoDB cannot be reached or refused ({type(error).__name__}). Mend: check `hemiec db status` and run "
            "the same command again; what finished is kept.",
            FAILED,
        )
    if isinstance(error, OSError):
        mend = " Mend: free some space and run the same command again." if error.errno == errno.ENOSPC else ""
        return f"{error.filename or 'file'}: {error.strerror or error}.{mend}", FAILED
    first = (str(error).splitlines() or [""])[0][:300]
    return (
        f"unexpected {type(error).__name__}: {first} Mend: run it again with --debug and report what it prints.",
        FAILED,
    )


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    click.echo(f"error: {line}" if code != INTERRUPTED else line, err=True)
    return code
