"""Where things are on this machine: data folder, database, workers.

Settings say *where*; protocols say *physics*. Values come from environment variables
(``HEMIEC_DATA_DIR=...``) over one YAML file, ``~/.hemiec.yaml`` or the file that
``HEMIEC_CONFIG_FILE`` names. They are read when :func:`load_settings` is called, never at import.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hemiec.errors import InputError, did_you_mean

CONFIG_VARIABLE = "HEMIEC_CONFIG_FILE"


class Settings(BaseSettings):
    """All settings of hemiec; every field can be set as ``HEMIEC_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="HEMIEC_", extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("hemiec", appauthor=False),
        description="Folder of the embedded MongoDB, of the workers' run folders, of reports and caches.",
    )
    mongo_uri: SecretStr | None = Field(
        None, description="MongoDB to use instead of the embedded one, as mongodb://user:password@host/."
    )
    web_mongo_uri: SecretStr | None = Field(
        None,
        description="The same for `hemiec serve`, as a user who may only read; default: the embedded MongoDB's reader, "
        "else mongo_uri.",
    )
    web_token: SecretStr | None = Field(
        None, min_length=16, description="What clients of `hemiec serve` must send as `Authorization: Bearer TOKEN`."
    )
    database: str = Field("hemiec", description="Name of the MongoDB database.", pattern=r"^[A-Za-z0-9_-]+$")
    backend: Literal["fireworks", "jobflow-remote"] = Field(
        "fireworks", description="What runs submitted jobs: a FireWorks LaunchPad, or jobflow-remote's runner."
    )
    remote_project: str | None = Field(
        None, description="Name of the jobflow-remote project; default: JFREMOTE_PROJECT, else the only one there is."
    )
    mongod: Path | None = Field(None, description="The mongod program; default: from PATH, else from the wheel.")
    workers: int = Field(
        default_factory=lambda: max(1, len(os.sched_getaffinity(0))),
        ge=1,
        description="Worker processes that `hemiec run` starts, one core each.",
    )
    large_objects: str = Field(
        "gridfs",
        description="Where trajectories and paths lie: gridfs, folder:/path on a file system that all workers share, "
        "or s3://bucket/prefix.",
        pattern=r"^(gridfs|folder:/.+|s3://[^/]+(/.*)?)$",
    )
    keep_folders: Literal["all", "compressed", "failed", "none"] = Field(
        "compressed", description="What becomes of the run folder of a finished job; failed: only others' are kept."
    )
    trusted_packages: list[str] = Field(
        default_factory=list,
        description="Installed packages besides hemiec, atomate2 and jobflow of which jobs may name callables.",
    )
    hook: str | None = Field(
        None, description="Command that gets events of campaigns as JSON on its standard input; no shell is used."
    )

    @property
    def run_dir(self) -> Path:
        """Folder in which workers run their jobs."""
        return self.data_dir / "runs"

    @property
    def pattern_cache(self) -> Path:
        """Folder of cached SQS patterns; it may be deleted at any time."""
        return self.data_dir / "sqs-patterns"


def config_file() -> Path:
    """Return the path of the settings file, whether or not it exists."""
    return Path(os.environ.get(CONFIG_VARIABLE, "~/.hemiec.yaml")).expanduser()


def load_settings() -> Settings:
    """Return the settings of this moment.

    Raises
    ------
    InputError
        If the settings file cannot be read, a setting is unknown or has a wrong value, or others can read a file with
        a password in it.
    """
    path = config_file()
    from_file: dict[str, object] = {}
    if path.exists():
        from_file = _read(path)
        if not isinstance(from_file, dict):
            raise InputError(f"{path}: expected a mapping of settings.")
        for key in from_file:
            if key not in Settings.model_fields:
                raise InputError(f"{path}: unknown setting {key!r}; {did_you_mean(str(key), Settings.model_fields)}")
        secret = [name for name in ("mongo_uri", "web_mongo_uri", "web_token") if name in from_file]
        if secret and path.stat().st_mode & 0o004:
            raise InputError(
                f"{path}: everybody on this machine can read it, and {secret[0]} holds a password.",
                mend=f"chmod 600 {path}",
            )
    # The environment wins over the file.
    overridden = {k for k in from_file if f"HEMIEC_{k.upper()}" in os.environ}
    try:
        settings = Settings(**{k: v for k, v in from_file.items() if k not in overridden})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"setting {name!r}: {first['msg']}.", mend=f"correct HEMIEC_{name.upper()} or {path}"
        ) from error
    settings.data_dir = settings.data_dir.expanduser().absolute()
    return settings


def _read(path: Path) -> Any:
    """Return the content of a settings file; errors do not repeat its lines, which may hold a password."""
    try:
        return yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: cannot be read as YAML ({getattr(error, 'problem', error)}).") from None
