"""Tell a command of the user's what happened to a campaign: by mail, chat or however that command likes."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import tempfile
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from hemiec.settings import Settings

_log = logging.getLogger(__name__)

#: A campaign has nothing more to do; the first job failed of a cause; candidates rose to another tier; jobs were lost
#: and brought back; the budget is spent.
Event = Literal["settled", "failed", "promoted", "lost", "budget"]
TIME_LIMIT_S = 30.0
_LOG = "hook.log"
#: What a chatty hook may add to the log at one time, in bytes.
_MAX_OUTPUT = 10_000


def notify(settings: Settings, event: Event, *, campaign: str | None = None, **content: Any) -> bool:
    """Run the hook with an event, if there is one, and return whether it took it; no failure of it is passed on.

    The hook gets ``{"event", "campaign", "time", ...}`` as one JSON object on its standard input. It is not run by a
    shell and is stopped after :data:`TIME_LIMIT_S` s; what it prints goes to ``hook.log`` in the data folder.

    Parameters
    ----------
    settings
        The setting ``hook`` is the command.
    event
        What happened.
    campaign
        Of which campaign; None for all.
    content
        More to tell, such as ``message`` and ``counts``.
    """
    if settings.hook is None:
        return False
    if event not in get_args(Event):
        raise ValueError(f"{event!r} is no event")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    message = json.dumps({"event": event, "campaign": campaign, "time": moment, **content}, default=str)
    said, outcome = _run(settings.hook, message)
    _note(settings, f"{moment} {event} {campaign or '-'}: {outcome}", said)
    if outcome != "taken":
        _log.warning("the hook did not take %s: %s", event, outcome)
    return outcome == "taken"


def _run(hook: str, message: str) -> tuple[bytes, str]:
    """Return what the hook printed, and whether it took the event."""
    try:
        command = shlex.split(hook)
    except ValueError as error:
        return b"", f"the setting cannot be read ({error})"
    if not command:
        return b"", "the setting is empty"
    with tempfile.TemporaryFile() as output:
        try:
            # In a session of its own: Ctrl-C is for us, and all that it started can be stopped.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return b"", f"cannot be started ({error.strerror or error})"
        try:
            process.communicate(message.encode(), timeout=TIME_LIMIT_S)
            outcome = "taken" if process.returncode == 0 else f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            outcome = f"stopped after {TIME_LIMIT_S:g} s"
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _MAX_OUTPUT))
        return output.read(), outcome


def _note(settings: Settings, line: str, said: bytes) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with (settings.data_dir / _LOG).open("ab") as file:
            file.write(f"{line}\n".encode())
            if said.strip():
                file.write(said.rstrip() + b"\n")
    except OSError as error:
        _log.warning("%s cannot be written: %s", settings.data_dir / _LOG, error.strerror)
