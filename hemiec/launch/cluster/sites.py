"""Clusters as data: which scheduler, and what an allocation of each job category asks it for."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hemiec.engines.protocol import load_protocol, protocol_names
from hemiec.engines.settings import Category
from hemiec.errors import InputError, did_you_mean
from hemiec.launch.cluster.scheduler import seconds_of
from hemiec.schemas.quantity import Document
from hemiec.schemas.validation import read_yaml, validate

Scheduler = Literal["slurm", "pbs", "sge"]
#: Stands for an account that everyone has to name for themselves.
ASK = "ACCOUNT"
#: Names of partitions and accounts, as schedulers and YAML take them without trouble.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.,@+-]*$"
_WALLTIME = re.compile(r"\d{1,4}:[0-5]\d:[0-5]\d")


class Allocation(Document):
    """What one allocation for jobs of a category asks the scheduler for: one node or a part of it."""

    partition: str | None = Field(
        None, pattern=_NAME, description="Slurm's partition, PBS's or Grid Engine's queue; null for the default one."
    )
    cores: int = Field(gt=0, description="CPU cores; unit 1.")
    memory_gib: int = Field(gt=0, description="Memory of all cores together, in GiB.")
    gpus: int = Field(0, ge=0, description="GPUs; unit 1.")
    walltime: str = Field(description="Length, as HH:MM:SS.")
    workers: int | None = Field(None, gt=0, description="Jobs at a time; null for one per core; unit 1.")
    options: list[str] = Field(
        default_factory=list, description="More options, as the scheduler writes them, such as --constraint=rome."
    )

    @property
    def jobs_at_a_time(self) -> int:
        """Number of workers; unit 1."""
        return self.workers or self.cores

    @model_validator(mode="after")
    def _a_core_for_each(self) -> Allocation:
        if self.jobs_at_a_time > self.cores:
            raise ValueError(f"`workers: {self.workers}` is more than `cores: {self.cores}`")
        return self

    @field_validator("walltime", mode="before")
    @classmethod
    def _is_hours(cls, value: Any) -> Any:
        # YAML reads 24:00:00 without quotes as a number of seconds.
        if isinstance(value, int):
            value = f"{value // 3600:02d}:{value % 3600 // 60:02d}:{value % 60:02d}"
        if not isinstance(value, str) or not _WALLTIME.fullmatch(value) or not any(map(int, value.split(":"))):
            raise ValueError("expected HH:MM:SS, such as 48:00:00")
        return value

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: list[str]) -> list[str]:
        for option in options:
            if not option.startswith("-") or not _is_line(option):
                raise ValueError(f"expected options of one line that begin with '-', got {option!r}")
        return options


class Site(Document):
    """One cluster as its users see it."""

    name: str = Field(description="Name of the cluster, stored with every launch.", pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = Field(description="One line for the list.")
    scheduler: Scheduler = Field(description="Batch system.")
    account: str | None = Field(
        None, pattern=_NAME, description=f"What is charged; {ASK} to be asked for it, null for none."
    )
    parallel_environment: str | None = Field(None, pattern=_NAME, description="Grid Engine alone: name of the PE.")
    setup: list[str] = Field(
        default_factory=list, description="Shell commands before hemiec's environment, such as `module load vasp`."
    )
    categories: dict[Category, Allocation] = Field(
        min_length=1, description="Job category to its allocation; only these are rendered."
    )

    @field_validator("setup")
    @classmethod
    def _are_lines(cls, lines: list[str]) -> list[str]:
        for line in lines:
            if not _is_line(line):
                raise ValueError(f"expected commands of one line without $$, got {line!r}")
        return lines


def _is_line(text: str) -> bool:
    """Return whether a batch script can hold a line: FireWorks leaves out those with $$."""
    return bool(text.strip()) and text.isprintable() and "$$" not in text


def templates() -> Traversable:
    """Return the folder of the templates, ``db_config``."""
    return resources.files("hemiec") / "db_config"


def site_names() -> list[str]:
    """Return the names of the presets that come with hemiec."""
    return sorted(f.name.removesuffix(".yaml") for f in (templates() / "sites").iterdir() if f.name.endswith(".yaml"))


def site_text(name: str) -> str:
    """Return the file of a preset that comes with hemiec; InputError if there is none of that name."""
    if name not in site_names():
        raise InputError(f"unknown site {name!r}; {did_you_mean(name, site_names())}")
    return (templates() / "sites" / f"{name}.yaml").read_text(encoding="utf-8")


def site_content(reference: str) -> dict[str, Any]:
    """Return what stands in a preset: by its name, or by the path of a file of one's own (.yaml or .yml).

    Raises
    ------
    InputError
        If there is no such preset or file, or the file is not YAML.
    """
    if reference.endswith((".yaml", ".yml")):
        return read_yaml(Path(reference).expanduser())
    site_text(reference)  # the name is checked
    with resources.as_file(templates() / "sites" / f"{reference}.yaml") as path:
        return read_yaml(path)


def make_site(content: dict[str, Any], where: str) -> Site:
    """Return the checked site; a wrong key or value raises InputError that names it and ``where`` it is."""
    categories = content.get("categories")
    if isinstance(categories, dict):
        known = ("mlip", "dft", "gpu")
        for category, allocation in categories.items():
            if category not in known:
                raise InputError(f"{where}: unknown key 'categories.{category}'; {did_you_mean(str(category), known)}")
            if not isinstance(allocation, dict):
                raise InputError(f"{where}: key 'categories.{category}': expected a mapping.")
            checked = validate(Allocation, allocation, f"{where}: categories.{category}")
            if (category == "gpu") != (checked.gpus > 0):
                raise InputError(
                    f"{where}: key 'categories.{category}.gpus': got {checked.gpus}; "
                    "category gpu needs at least 1, the others have none."
                )
    site = validate(Site, content, where)
    if site.scheduler == "sge" and site.parallel_environment is None:
        raise InputError(f"{where}: key 'parallel_environment' is missing.", mend="`qconf -spl` lists those there are")
    return site


def never_started(site: Site) -> list[str]:
    """Return which shipped protocols' jobs the site's allocations are too short for, in words."""
    found = []
    for protocol in map(load_protocol, protocol_names()):
        allocation = site.categories.get(protocol.resources.category)
        if allocation is not None and seconds_of(allocation.walltime) < 60 * protocol.resources.walltime_min:
            found.append(f"{protocol.name} ({protocol.resources.walltime_min} min)")
    return found
