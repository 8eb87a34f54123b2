"""Checks of what works here, each with the mend for what does not."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from hemiec.engines.mlip.potential import calculator
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.errors import HemiecError, StoreError
from hemiec.launch.cluster.config import probe
from hemiec.launch.doctor.cluster import check_files, check_private, check_scheduler
from hemiec.launch.doctor.references import check_references
from hemiec.launch.doctor.vasp import check_command, check_potcars
from hemiec.settings import Settings

MIN_FREE_GIB = 2.0
#: File systems on which a MongoDB data folder is corrupted sooner or later.
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "lustre", "cifs", "smb3", "gpfs", "beegfs", "fuse.sshfs"}


@dataclass(frozen=True)
class Check:
    """One check: what, whether it passed, what was found, how to mend it."""

    name: str
    ok: bool
    detail: str
    mend: str | None = None


def run_checks(settings: Settings) -> Iterator[Check]:
    """Yield the checks one by one, as each finishes."""
    checks: list[tuple[str, Callable[[Settings], str], str]] = [
        ("python", _python, "use Python 3.11 or later"),
        ("disk", _disk, f"free space, or set HEMIEC_DATA_DIR to a local disk with {MIN_FREE_GIB:g} GiB"),
        ("store", _store, "pip install 'hemiec[mongod]', or set HEMIEC_MONGO_URI"),
        ("launcher", _launcher, "mend the store first"),
        ("config private", check_private, "see docs/configuration.md"),
        ("config files", check_files, "see docs/configuration.md"),
        ("scheduler", check_scheduler, "see docs/configuration.md"),
        ("engine icet", _icet, "pip install icet"),
        ("engine mlip-chgnet", lambda s: _mlip("mlip-chgnet"), "pip install 'hemiec[mlip]'"),
        ("reference energies", check_references, "pip install 'hemiec[mlip]'"),
        ("engine mlip-7net-0", lambda s: _mlip("mlip-7net-0"), "pip install 'hemiec[mlip]'"),
        ("engine gpaw", _gpaw, "run `make setup`, which builds GPAW with g++ alone"),
        ("engine vasp", check_command, "see docs/dft-vasp.md"),
        ("vasp potcars", check_potcars, "see docs/dft-vasp.md"),
    ]
    for name, check, mend in checks:
        try:
            yield Check(name, True, check(settings))
        except HemiecError as error:
            yield Check(name, False, error.message, error.mend or mend)
        except Exception as error:  # a check must never hide the checks after it
            yield Check(
                name, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", mend
            )


def _python(settings: Settings) -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    return f"Python {found}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1024**3:.0f} GiB of memory"


def _disk(settings: Settings) -> str:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data_dir).free / 1024**3
    kind = file_system(settings.data_dir)
    if settings.mongo_uri is None and kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(f"{settings.data_dir} is on {kind}, where MongoDB loses data.")
    if free < MIN_FREE_GIB:
        raise StoreError(f"{settings.data_dir}: {free:.1f} GiB free, expected {MIN_FREE_GIB:g}.")
    return f"{free:.0f} GiB free in {settings.data_dir}"


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, such as ext4 or nfs4."""
    mounts = {partition.mountpoint: partition.fstype for partition in psutil.disk_partitions(all=True)}
    for folder in (path.absolute(), *path.absolute().parents):
        if str(folder) in mounts:
            return mounts[str(folder)]
    return "unknown"


def _store(settings: Settings) -> str:
    from hemiec.store.database import open_database

    database = open_database(settings)
    try:
        server = probe(database)
        where = "embedded" if settings.mongo_uri is None else "configured server"
        return f"MongoDB {server} ({where}), database {settings.database!r}"
    finally:
        database.close()


def _launcher(settings: Settings) -> str:
    if settings.backend == "jobflow-remote":
        from hemiec.launch.remote.config import check_remote

        return check_remote(settings)
    from hemiec.launch.fireworks.launchpad import open_launchpad
    from hemiec.store.database import open_database

    database = open_database(settings)
    try:
        launchpad = open_launchpad(database)
        return (
            f"FireWorks {version('FireWorks')}, {launchpad.fireworks.estimated_document_count()} jobs on the LaunchPad"
        )
    finally:
        database.close()


def _icet(settings: Settings) -> str:
    from hemiec.composition.candidate import make_candidate
    from hemiec.composition.charge import DEFAULT_OXIDATION_STATES
    from hemiec.schemas.campaign import SqsSettings
    from hemiec.structures.sqs import make_sqs

    sites: dict[str, dict[str, object]] = {"A": {"Sr": "1/2", "Ba": "1/2"}, "B": {"Ti": 1}}
    candidate = make_candidate(sites, DEFAULT_OXIDATION_STATES)
    sqs = make_sqs(candidate, SqsSettings(max_atoms=10, quality="fast")).members[0]
    return f"icet {sqs.versions['icet']}: SQS of {sqs.n_atoms} atoms"


def _mlip(name: str) -> str:
    from ase.build import bulk

    protocol = load_mlip(name)
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.calc = calculator(protocol)
    energy = float(atoms.get_potential_energy())
    package = protocol.model.package
    return f"{package} {version(package)}: MgO with 2 atoms, {energy / len(atoms):.3f} eV/atom"


def _gpaw(settings: Settings) -> str:
    from pymatgen.core import Lattice, Structure

    from hemiec.engines.gpaw.gap import compute_gap
    from hemiec.engines.gpaw.protocol import GpawProtocol

    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    protocol = load_dft("gpaw-fast")
    assert isinstance(protocol, GpawProtocol)
    with tempfile.TemporaryDirectory() as folder:
        doc = compute_gap(structure.get_primitive_structure(), protocol, folder=Path(folder))
    gap = doc.electronic.band_gap if doc.electronic else 0.0
    return f"gpaw {doc.versions['gpaw']}: MgO with 2 atoms, gap {gap:.2f} eV"
