"""PAW datasets that GPAW's data package lacks: made with GPAW's own generator, checked, kept, and hashed.

GLLB-SC needs the response potential of the core, which only datasets made for it hold. gpaw-data has them for most
elements, but for no lanthanide; of these, lanthanum can be generated.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from hemiec.errors import EngineError
from hemiec.files import write_whole
from hemiec.schemas.quantity import Document
from hemiec.settings import load_settings

#: Keywords of GPAW's generator that replace its own for an element. Its lanthanum has no f states: the empty 4f band
#: is then that of the local potential, and the PBE gap of LaAlO3 0.43 eV below that of the shipped PBE dataset; with
#: a 4f projector the two agree within 0.02 eV.
PARAMETERS: dict[str, dict[str, Any]] = {"La": {"core": "[Kr]4d", "rcut": [2.3, 2.0, 1.9, 1.9], "empty_states": "4f"}}
#: A generated dataset reproduces the atom's eigenvalues within this, in eV; the check's own grid is good to about 0.06.
EIGENVALUE_TOLERANCE = 0.1
_HARTREE = 27.211386245988
#: Lines such as ``5s:  -1.389435  -1.390344`` of the generator's last table: state, all-electron, PAW, in hartree.
_CHECKED_STATE = re.compile(r"^(\d[spdf]):\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s*$", re.MULTILINE)


class GeneratedDataset(Document):
    """Record of a dataset that was generated here."""

    symbol: str = Field(description="Element.")
    functional: str = Field(description="Functional that the dataset is for, by its setup name.")
    sha256: str = Field(description="Hash of the file.")
    parameters: dict[str, Any] = Field(description="Keywords of GPAW's generator.")
    eigenvalue_error_eV: float = Field(
        ge=0, description="Largest difference of the atom's eigenvalues, PAW against all-electron, in eV."
    )
    gpaw: str = Field(description="Version of GPAW that generated it.")


def dataset_folder() -> Path:
    """Return the folder of generated datasets of this GPAW version; it may be deleted at any time."""
    return load_settings().data_dir / "gpaw-datasets" / f"gpaw-{version('gpaw')}"


def ensure_datasets(symbols: Iterable[str], functional: str) -> dict[str, GeneratedDataset]:
    """Make sure that GPAW finds a dataset of each element, generating what is missing.

    Parameters
    ----------
    symbols
        Elements.
    functional
        Setup name of the functional, such as ``GLLBSC``.

    Returns
    -------
    dict
        The records of those elements whose dataset is a generated one.

    Raises
    ------
    EngineError
        If a dataset is missing and cannot be generated, or a kept one was changed.
    """
    from gpaw import setup_paths

    missing = [s for s in sorted(set(symbols)) if not _installed(s, functional)]
    if not missing:
        return {}
    folder = dataset_folder()
    records = {symbol: _kept(symbol, functional, folder) or _make(symbol, functional, folder) for symbol in missing}
    # Last: datasets that the user installs win.
    if str(folder) not in map(str, setup_paths):
        setup_paths.append(str(folder))
    return records


def generate(symbol: str, functional: str) -> tuple[str, GeneratedDataset]:
    """Return the XML of a dataset made with GPAW's generator, and its record.

    Raises
    ------
    EngineError
        If there are no parameters for the element, the generator fails or finds a ghost state, or the atom's
        eigenvalues are not reproduced.
    """
    parameters = _parameters(symbol, functional)
    log = io.StringIO()
    try:
        # An unknown orbital or a wave function with a node ends in one of these; a ghost state is a RuntimeError.
        text = _run_generator(symbol, functional, parameters, log)
    except (RuntimeError, AssertionError, ValueError, ArithmeticError, KeyError, IndexError) as error:
        raise EngineError(
            f"GPAW's generator makes no {functional} dataset of {symbol} ({type(error).__name__}: {error}).",
            mend=_ALTERNATIVES,
        ) from error
    worst = _eigenvalue_error(log.getvalue())
    if worst is None or worst > EIGENVALUE_TOLERANCE:
        raise EngineError(
            f"the generated {functional} dataset of {symbol} is wrong: the atom's eigenvalues are off by {worst} eV, "
            f"at most {EIGENVALUE_TOLERANCE} eV is accepted.",
            mend=_ALTERNATIVES,
        )
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text, GeneratedDataset(
        symbol=symbol,
        functional=functional,
        sha256=digest,
        parameters=parameters,
        eigenvalue_error_eV=round(worst, 4),
        gpaw=version("gpaw"),
    )


_ALTERNATIVES = "use a PBE+U protocol, choose another cation, or put a dataset of your own on GPAW_SETUP_PATH"


def _parameters(symbol: str, functional: str) -> dict[str, Any]:
    from gpaw.atom.configurations import parameters

    found = PARAMETERS.get(symbol) or parameters.get(symbol)
    if found is None:
        raise EngineError(
            f"there is no {functional} dataset of {symbol} and GPAW has no parameters to generate one.",
            mend=_ALTERNATIVES,
        )
    return dict(found)


def _run_generator(symbol: str, functional: str, parameters: dict[str, Any], log: io.StringIO) -> str:
    from gpaw.atom.generator import Generator

    # The generator extends lists that it is given.
    copied = {key: list(value) if isinstance(value, list) else value for key, value in parameters.items()}
    generator = Generator(symbol, functional, scalarrel=True, nofiles=True, txt=log)
    data = generator.run(exx=True, logderiv=False, write_xml=False, **copied)
    text = io.StringIO()
    data._write_xml(text)
    return text.getvalue()


def _eigenvalue_error(log: str) -> float | None:
    """Return the largest difference in eV between the columns of the generator's last table; None without one."""
    table = log[log.rfind("all-electron     PAW") :]
    differences = [abs(float(atom) - float(paw)) for _, atom, paw in _CHECKED_STATE.findall(table)]
    return max(differences) * _HARTREE if differences else None


def _installed(symbol: str, functional: str) -> bool:
    from gpaw import setup_paths

    ours = str(dataset_folder())
    names = (f"{symbol}.{functional}", f"{symbol}.{functional}.gz")
    return any(Path(path, name).exists() for path in setup_paths if str(path) != ours for name in names)


def _kept(symbol: str, functional: str, folder: Path) -> GeneratedDataset | None:
    """Return the record of a dataset made earlier, or None; one that was changed since is refused."""
    path, record_path = folder / f"{symbol}.{functional}", folder / f"{symbol}.{functional}.json"
    try:
        content = path.read_bytes()
        record = GeneratedDataset.model_validate_json(record_path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if record.parameters != json.loads(json.dumps(_parameters(symbol, functional))):
        return None
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise EngineError(f"{path} is not the dataset that was generated.", mend="delete it; it will be made again")
    return record


def _make(symbol: str, functional: str, folder: Path) -> GeneratedDataset:
    text, record = generate(symbol, functional)
    folder.mkdir(parents=True, exist_ok=True)
    # The record last: without it the dataset counts as not there.
    write_whole(folder / f"{symbol}.{functional}", text)
    write_whole(folder / f"{symbol}.{functional}.json", record.model_dump_json(indent=1))
    return record
