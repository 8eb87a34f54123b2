"""Checks of VASP for `hemiec doctor`: the command, the POTCAR folder and what shipped protocols need from it."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from hemiec.engines.protocol import load_protocol, protocol_names
from hemiec.engines.vasp.protocol import VaspProtocol
from hemiec.errors import EngineError
from hemiec.settings import Settings

NOT_INSTALLED = "not installed (optional)"
_COMMAND_MEND = (
    "set ATOMATE2_VASP_CMD to the command that runs VASP here, such as 'srun vasp_std'; see docs/dft-vasp.md"
)
_FOLDER_MEND = "set PMG_VASP_PSP_DIR to the folder that `pmg config -p` made of your POTCARs; see docs/dft-vasp.md"
#: What starts a parallel program, and its options that have a value: not the program itself.
_LAUNCHERS = {"srun", "mpirun", "mpiexec", "mpiexec.hydra", "ibrun", "aprun", "jsrun", "prterun", "orterun"}


def check_command(settings: Settings) -> str:
    """Return where the VASP command is, or that VASP is not installed; VASP is not run.

    Raises
    ------
    EngineError
        If a command is set whose first program or launcher is not on PATH.
    """
    from hemiec.engines.vasp.execution import vasp_command

    command, is_set = vasp_command()
    words = shlex.split(command)
    if not words:
        raise EngineError("the VASP command is empty.", mend=_COMMAND_MEND)
    found = shutil.which(words[0])
    if found is None:
        if not is_set:
            return NOT_INSTALLED
        raise EngineError(f"VASP command {command!r}: {words[0]} is not on PATH.", mend=_COMMAND_MEND)
    if Path(words[0]).name not in _LAUNCHERS:
        return f"{found}, as {command!r} (not run)"
    program = next((shutil.which(w) for w in words[1:] if "vasp" in Path(w).name.lower() and shutil.which(w)), None)
    # On many clusters VASP is in the PATH of a job's module alone: the launcher says nothing of it.
    return f"launcher {found}, program {program or 'not on PATH here'}, as {command!r} (not run)"


def check_potcars(settings: Settings) -> str:
    """Return which POTCAR releases are here and complete, or that none is set up.

    Raises
    ------
    EngineError
        If the folder is missing, has no release that a shipped protocol needs, or lacks POTCARs of one it has.
    """
    from pymatgen.core import SETTINGS
    from pymatgen.io.vasp.inputs import PotcarSingle

    where = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not where:
        return f"{NOT_INSTALLED}: PMG_VASP_PSP_DIR is not set"
    folder = Path(os.path.expandvars(str(where))).expanduser()
    if not folder.is_dir():
        raise EngineError(f"PMG_VASP_PSP_DIR={where}: no such folder.", mend=_FOLDER_MEND)
    renamed = SETTINGS.get("PMG_VASP_PSP_SUB_DIRS", {})
    said: list[str] = []
    complete = False
    for protocol in _protocols():
        name = renamed.get(protocol.potcar_functional, PotcarSingle.functional_dir[protocol.potcar_functional])
        release = folder / name
        if not release.is_dir():
            said.append(f"{protocol.name}: no {name}")
            continue
        needed = {p for e, p in protocol.potcars.items() if e not in protocol.refused_elements}
        missing = sorted(needed - available_potcars(release))
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise EngineError(
                f"{protocol.name}: {release} lacks {', '.join(missing[:5])}{more}.",
                mend=f"add them from the release {protocol.potcar_functional} of your licence with `pmg config -p`",
            )
        complete = True
        said.append(f"{protocol.name}: {name} complete")
    if not complete:
        raise EngineError(f"{folder} has no release that a protocol needs ({'; '.join(said)}).", mend=_FOLDER_MEND)
    return f"{folder}: {'; '.join(said)}"


def available_potcars(release: Path) -> set[str]:
    """Return the names of the POTCARs of one release, in either layout that pymatgen reads."""
    found = set()
    for entry in release.iterdir():
        if entry.is_dir() and any((entry / f"POTCAR{end}").is_file() for end in ("", ".gz", ".bz2", ".xz", ".Z")):
            found.add(entry.name)
        elif entry.name.startswith("POTCAR."):
            name = entry.name.removeprefix("POTCAR.")
            found.add(
                next((name.removesuffix(end) for end in (".gz", ".bz2", ".xz", ".Z") if name.endswith(end)), name)
            )
    return found


def _protocols() -> list[VaspProtocol]:
    loaded = [load_protocol(name) for name in protocol_names("vasp")]
    return [protocol for protocol in loaded if isinstance(protocol, VaspProtocol)]
