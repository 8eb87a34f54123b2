"""Importing hemiec does nothing and costs nothing."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hemiec

HEAVY = (
    "torch",
    "icet",
    "atomate2",
    "gpaw",
    "chgnet",
    "sevenn",
    "pymatgen",
    "numpy",
    "fireworks",
    "pymongo",
    "pydantic",
)
MODULES = sorted(m.name for m in pkgutil.walk_packages(hemiec.__path__, "hemiec."))

REPORT = """
import sys, time
started = time.perf_counter()
import importlib, json, logging
for name in {modules!r}:
    importlib.import_module(name)
elapsed = time.perf_counter() - started
root = logging.getLogger()
ours = [n for n in logging.root.manager.loggerDict if n.split(".")[0] == "hemiec"]
print(json.dumps({{
    "elapsed": elapsed,
    "heavy": [m for m in {heavy!r} if m in sys.modules],
    "handlers": len(root.handlers) + sum(len(logging.getLogger(n).handlers) for n in ours),
    "level": root.level,
}}))
"""


def imported(modules: list[str], folder: Path, heavy: tuple[str, ...] = HEAVY) -> dict[str, Any]:
    """Import modules in a clean interpreter with an empty home and working directory; return what it saw."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    hidden = ("HEMIEC_", "XDG_", "PYTHONSTARTUP")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {"HOME": str(home)}
    process = subprocess.run(
        [sys.executable, "-c", REPORT.format(modules=modules, heavy=heavy)],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    report: dict[str, Any] = json.loads(process.stdout)
    return report


def test_the_package_alone_is_light(tmp_path: Path) -> None:
    report = imported(["hemiec"], tmp_path)
    assert report["heavy"] == []
    assert report["elapsed"] < 0.3  # the ceiling of the style guide


def test_importing_everything_makes_no_files_and_no_handlers(tmp_path: Path) -> None:
    assert "hemiec.workflows.campaign" in MODULES
    report = imported(MODULES, tmp_path)
    assert report["handlers"] == 0
    assert report["level"] == 30  # logging's own default, WARNING
    # The libraries that take seconds are imported where they are used.
    assert not {"torch", "icet", "atomate2", "chgnet", "sevenn"} & set(report["heavy"])
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["home"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    source = Path(hemiec.__path__[0]).parent / Path(*name.split("."))
    file = source.with_suffix(".py") if source.with_suffix(".py").exists() else source / "__init__.py"
    assert file.read_text().startswith('"""')
