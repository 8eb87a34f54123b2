"""VASP under custodian in the current folder: what it starts from, how it is run, how it fails."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from hemiec.engines.magnetism import initial_moments
from hemiec.engines.vasp import recovery
from hemiec.engines.vasp.inputs import input_generator, magnetic_start, prepare, refuse_elements, sorted_order
from hemiec.engines.vasp.outputs import VaspResult, read_result
from hemiec.engines.vasp.protocol import VaspProtocol, VaspStep
from hemiec.errors import EngineError, NotConvergedError
from hemiec.schemas.calculations import CalculationDoc


class VaspRun:
    """One run of VASP in the current folder."""

    def __init__(
        self,
        protocol: VaspProtocol,
        step: VaspStep,
        structure: Structure,
        before: CalculationDoc | None,
        start: str | None,
        relax_cell: bool,
        moments: list[float] | None = None,
    ) -> None:
        refuse_elements(structure, protocol)
        self.protocol, self.step, self.structure, self.before = protocol, step, structure, before
        self.order = sorted_order(structure)
        if before is not None:
            # The pattern of a start is found once: a relaxed cell might be taken for another one.
            self.start, self.moments = before.magnetic_start, before.initial_moments
        else:
            self.start = magnetic_start(structure, protocol, start)
            self.moments = moments or initial_moments(structure, self.start, protocol.spin)
        self.spin_polarised = self.start is not None
        self.relaxing = is_relaxation(step)
        self.more = {"ISIF": 2} if self.relaxing and not relax_cell else {}
        self.datasets: dict[str, str] = {}

    def execute(self, name: str, source: Path | None, *, going_on: bool = False) -> VaspResult | None:
        """Return what VASP computed, or None if it was stopped for its wall time and can go on.

        Parameters
        ----------
        name
            What the run is called in its own document.
        source
            Folder of the run to start from; None to start from the moments alone.
        going_on
            Whether that is this very run, stopped for its wall time.

        Raises
        ------
        EngineError
            If VASP or a file is missing, or VASP fails.
        NotConvergedError
            If the SCF or the relaxation did not converge.
        """
        folder = Path.cwd()
        if left := [f.name for f in folder.iterdir() if f.name.startswith(("vasprun.xml", "OUTCAR"))]:
            raise EngineError(f"{folder} holds outputs of another run: {', '.join(sorted(left))}.")
        prepared = prepare(self.structure, self.protocol, self.moments)
        if source is not None:
            files = ["WAVECAR"] if going_on else self.step.reuse
            fetch(source, files, prepared, spin_polarised=self.spin_polarised)
        doc = self._run_vasp(name, prepared, folder)
        result = read_result(folder, self.structure, self.order) if doc is not None else None
        if result is not None and result.converged_electronic and (result.converged_ionic or not self.relaxing):
            self.datasets = _datasets(doc, result, self.protocol)
            return result
        if recovery.reached_walltime(folder):
            return None
        what = "the SCF" if result is None or not result.converged_electronic else "the relaxation"
        tried = ", ".join(a.message or "" for a in recovery.failed_attempts(folder))
        mended = f" (custodian tried to mend: {tried})" if tried else ""
        raise NotConvergedError(
            f"{self.structure.formula}: {what} did not converge{mended}.",
            mend=f"look at {folder}",
        )

    def _run_vasp(self, name: str, prepared: Structure, folder: Path) -> Any:
        """Return atomate2's TaskDoc, or None if the wall time cut the output off."""
        from atomate2 import SETTINGS
        from atomate2.vasp.jobs.base import BaseVaspMaker

        maker = BaseVaspMaker(
            name=name,
            input_set_generator=input_generator(
                prepared, self.protocol, self.step, spin_polarised=self.spin_polarised, more=self.more
            ),
            run_vasp_kwargs=run_settings(self.protocol, self.step, SETTINGS),
            stop_children_kwargs={"handle_unsuccessful": False},
        )
        try:
            with warnings.catch_warnings():
                # A folder without KPOINTS (KSPACING) or with made-up POTCARs is warned of at every file read.
                warnings.simplefilter("ignore")
                return BaseVaspMaker.make.original(maker, prepared).output
        except Exception as error:
            if recovery.reached_walltime(folder):
                return None
            raise failure(error, self.structure.formula, folder) from error


def is_relaxation(step: VaspStep) -> bool:
    """Return whether a step moves atoms."""
    return int(step.incar.get("NSW", 0)) > 0  # type: ignore[arg-type]


def run_settings(protocol: VaspProtocol, step: VaspStep, settings: Any) -> dict[str, Any]:
    """Return what atomate2's ``run_vasp`` takes: commands of atomate2's settings, handlers of the protocol."""
    # Without wavefunctions there is nothing to go on from: such a run is not stopped.
    walltime_h = protocol.walltime_h if step.incar.get("LWAVE") is True else None
    return {
        "vasp_cmd": settings.VASP_CMD,
        "vasp_gamma_cmd": settings.VASP_GAMMA_CMD,
        "scratch_dir": settings.CUSTODIAN_SCRATCH_DIR,
        "handlers": recovery.handlers(walltime_h, relaxing=is_relaxation(step)),
        "max_errors": protocol.max_corrections + 1,  # custodian counts the runs, the last one mends nothing
        "custodian_kwargs": {"polling_time_step": recovery.POLLING_S, "monitor_freq": recovery.MONITOR_EVERY},
    }


def vasp_command() -> tuple[str, bool]:
    """Return the command that runs VASP, from atomate2's settings, and whether the user set it."""
    from atomate2 import SETTINGS

    default = type(SETTINGS).model_fields["VASP_CMD"].default
    return os.path.expandvars(SETTINGS.VASP_CMD), default != SETTINGS.VASP_CMD


def failure(error: Exception, formula: str, folder: Path) -> EngineError:
    """Return what to tell of an exception of pymatgen, custodian or VASP itself."""
    text = str(error).splitlines()[0] if str(error) else ""
    if "PSP" in type(error).__name__ or "POTCAR" in text or "PMG_VASP_PSP_DIR" in text:
        return EngineError(
            f"{formula}: a POTCAR is missing ({text}).",
            mend="set PMG_VASP_PSP_DIR to your POTCAR folder; `hemiec doctor` checks it",
        )
    if isinstance(error, FileNotFoundError) and error.filename and not Path(str(error.filename)).is_absolute():
        return EngineError(
            f"{formula}: the VASP command {error.filename!r} was not found.",
            mend="set ATOMATE2_VASP_CMD, such as 'srun vasp_std'",
        )
    words = last_words(folder)
    return EngineError(
        f"{formula}: VASP failed ({type(error).__name__}: {text}{f'; it said {words!r}' if words else ''}).",
        mend=f"look at {folder}",
    )


def last_words(folder: Path) -> str | None:
    """Return the last line that VASP wrote to its standard error, or to its standard output, if any."""
    for name in ("std_err.txt", "vasp.out"):
        path = folder / name
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        if said := [line.strip() for line in lines if line.strip()]:
            return said[-1][:200]
    return None


def fetch(source: Path, files: Sequence[str], prepared: Structure, *, spin_polarised: bool) -> None:
    """Copy the files that a step starts from, unless the run that left them was in another magnetic state.

    Raises
    ------
    EngineError
        If the folder or a file is missing.
    """
    from atomate2.common.files import copy_files, gunzip_files
    from monty.os.path import zpath
    from pymatgen.io.vasp import Incar

    if not files:
        return
    incar_file = Path(zpath(str(source / "INCAR")))
    if not incar_file.is_file():
        raise EngineError(
            f"{source} does not exist here: the run that this one starts from was made on another machine, "
            "or its folder was deleted.",
            mend="share the folder of the runs between machines",
        )
    incar = Incar.from_file(incar_file)
    moments = list(prepared.site_properties["magmom"]) if spin_polarised else []
    earlier = [float(m) for m in incar.get("MAGMOM", [])] if incar.get("ISPIN", 1) == 2 else []
    if len(earlier) != len(moments) or not np.allclose(earlier, moments):
        return
    found = [Path(zpath(str(source / name))) for name in files]
    if missing := [path.name for path in found if not path.is_file() or path.stat().st_size == 0]:
        raise EngineError(f"{source} lacks {', '.join(missing)}, which this run starts from.", mend="set LWAVE, LCHARG")
    copy_files(source, include_files=[path.name for path in found])
    gunzip_files(include_files=[path.name for path in found], force=True)


def _datasets(doc: Any, result: VaspResult, protocol: VaspProtocol) -> dict[str, str]:
    """Return element to title and hash of its POTCAR.

    Raises
    ------
    EngineError
        If VASP read other POTCARs than the protocol names.
    """
    specs = {s.titel: s.hash for s in doc.calcs_reversed[0].input.potcar_spec or []}
    found = {}
    for title in result.potcars:
        name = title.split()[1]
        element = name.split("_")[0].split(".")[0]
        if protocol.potcars.get(element) != name:
            raise EngineError(
                f"VASP read the POTCAR {title!r} for {element}, the protocol {protocol.name} names "
                f"{protocol.potcars.get(element)!r}.",
                mend="look into the POTCAR folder: files in the wrong place",
            )
        found[element] = " ".join(filter(None, (title, specs.get(title))))
    return found
