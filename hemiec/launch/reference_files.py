"""Energies of reference phases in a file, for others with the same protocol: the form in which hemiec ships its own."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from math import isclose, isfinite
from pathlib import Path
from typing import Any

from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import ProtocolReference
from hemiec.errors import HemiecError, InputError, StoreError
from hemiec.files import write_whole_bytes
from hemiec.launch.lease import submission_lease
from hemiec.launch.queue import Queue
from hemiec.launch.references import added_phases, known_phases, own_header, request_references
from hemiec.launch.shipped import insert_outputs
from hemiec.schemas.calculations import CalculationDoc
from hemiec.schemas.validation import validate
from hemiec.store.campaigns import write_header
from hemiec.store.database import Database, Document
from hemiec.store.trust import Trust
from hemiec.thermo.references.shipped import pack
from hemiec.thermo.references.table import ReferencePhase, all_phases
from hemiec.workflows.references import reference_record

#: A file that unpacks to more is no file of reference energies: a thousand phases take 3 MB.
_MAX_BYTES = 256 * 1024**2
_KEYS = ("protocol", "protocol_hash", "outputs")


@dataclass(frozen=True)
class ReferenceFile:
    """A file of reference energies, checked.

    ``outputs`` are documents of the collection of that name, ``phases`` what they belong to; ``left_out`` names the
    phases in it that this hemiec tabulates otherwise.
    """

    source: str
    outputs: list[Document]
    phases: list[ReferencePhase]
    left_out: list[str]


def export_references(database: Database, protocol: MlipProtocol, path: Path, *, force: bool = False) -> int:
    """Write the energies that were computed here by a protocol into a file; return how many.

    Those that came with hemiec are not among them: everyone has them. Phases that did not converge are left out.

    Parameters
    ----------
    database
        The store; the role `read` is enough.
    protocol
        What relaxed.
    path
        The file, gzip-compressed JSON.
    force
        Whether a file that exists is replaced.

    Raises
    ------
    InputError
        If the file exists, or its folder does not.
    StoreError
        If nothing was computed here.
    ThermoError
        If several versions of the model computed them.
    """
    if path.exists() and not force:
        raise InputError(f"{path}: exists already.", mend="choose another name, or add --force")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder.")
    mine = {known.job_uuid: known for known in known_phases(database, protocol) if known.state == "computed"}
    done = [known for known in mine.values() if known.converged]
    if not done:
        raise StoreError(
            f"no reference phase was computed here with {protocol.name}.",
            mend="`hemiec references list` says what is shipped or missing",
        )
    outputs = []
    for document in database["outputs"].find({"uuid": {"$in": [known.job_uuid for known in done]}}, {"_id": 0}):
        # What the queue noted of the job stays here.
        record = reference_record(mine[document["uuid"]].phase, protocol)
        outputs.append(document | {"metadata": {"hemiec": {k: v for k, v in record.items() if k != "name"}}})
    wanted = {document["uuid"] for document in outputs}
    unfinished = {
        known.phase.phase_id: "its relaxation did not converge" for known in mine.values() if not known.converged
    }
    packages = {"pymatgen": version("pymatgen")}
    packed = pack(
        protocol.name, protocol.hash_of("relax"), outputs, left_out=unfinished, wanted=wanted, packages=packages
    )
    content = json.loads(gzip.decompress(packed))
    content["added_phases"] = [
        phase.model_dump(mode="json")
        for phase in added_phases(database, protocol)
        if any(known.phase.phase_id == phase.phase_id for known in done)
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_whole_bytes(path, gzip.compress(text.encode(), mtime=0))
    return len(outputs)


def read_references(path: Path, protocol: MlipProtocol, trust: Trust) -> ReferenceFile:
    """Return a file of reference energies after checking all of it.

    Parameters
    ----------
    path
        From :func:`export_references`.
    protocol
        Which the file has to be of.
    trust
        Which classes its structures may be of.

    Raises
    ------
    InputError
        If it cannot be read, is of another protocol, or an energy or structure in it is not valid.
    """
    content, digest = _content(path)
    if content["protocol_hash"] != protocol.hash_of("relax"):
        raise InputError(
            f"{path}: its energies are by {content['protocol']} ({content['protocol_hash']}), not by {protocol.name} "
            f"({protocol.hash_of('relax')}); energies of two protocols never meet.",
            mend="name its protocol with --protocol; if the name is the same, its settings differ from yours",
        )
    added = [
        validate(ReferencePhase, entry, f"{path}: added_phases[{n}]")
        for n, entry in enumerate(_list(content.get("added_phases", []), path, "added_phases"))
    ]
    by_uuid = {reference_record(phase, protocol)["uuid"]: phase for phase in (*all_phases(), *added)}
    source = f"{path.name} ({digest})"
    outputs, phases, left_out = [], [], []
    for n, document in enumerate(_list(content["outputs"], path, "outputs")):
        where = f"{path}: outputs[{n}]"
        if not isinstance(document, dict) or not isinstance(document.get("uuid"), str):
            raise InputError(f"{where}: expected the output of a job, with its uuid.")
        phase = by_uuid.get(document["uuid"])
        if phase is None:
            left_out.append(str(document.get("name", document["uuid"])))
            continue
        outputs.append(_output(document, phase, protocol, source, where, trust))
        phases.append(phase)
    return ReferenceFile(source, outputs, phases, left_out)


def add_references(queue: Queue, found: ReferenceFile, protocol: ProtocolReference) -> int:
    """Write checked energies into the store where it has none, and list their phases; return how many were written.

    Raises
    ------
    LaunchError
        If a submission holds the lock for too long.
    """
    if not found.outputs:
        return 0
    request = request_references(found.phases, protocol, use_shipped=False, flows=False)
    with submission_lease(queue.database) as lease:
        if lease.inherited:
            queue.mend_submission()
        waiting = queue.states([output["uuid"] for output in found.outputs])
        write_header(queue.database, own_header(queue.database, request))
        return insert_outputs(queue.database, [o for o in found.outputs if o["uuid"] not in waiting])


def _content(path: Path) -> tuple[dict[str, Any], str]:
    """Return what is in a file and a hash of it."""
    try:
        with gzip.open(path) as file:
            raw = file.read(_MAX_BYTES + 1)
        content = json.loads(raw) if len(raw) <= _MAX_BYTES else None
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: not a whole file of `hemiec references export` ({error}).") from error
    if not isinstance(content, dict) or any(key not in content for key in _KEYS):
        raise InputError(f"{path}: not a file of `hemiec references export`; expected keys {', '.join(_KEYS)}.")
    return content, hashlib.sha256(raw).hexdigest()[:12]


def _list(value: Any, path: Path, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{path}: {key}: expected a list.")
    return value


def _output(
    document: Mapping[str, Any], phase: ReferencePhase, protocol: MlipProtocol, source: str, where: str, trust: Trust
) -> Document:
    """Return what the store keeps of one output, after a look at its energy and structure."""
    name = f"{where}, {phase.phase_id}"
    result = document.get("output")
    try:
        trust.check(result)
    except HemiecError as error:
        raise InputError(f"{name}: {error.message}") from error
    doc = validate(CalculationDoc, result if isinstance(result, dict) else {}, name)
    if doc.protocol_hash != protocol.hash_of("relax") or not doc.converged:
        raise InputError(f"{name}: expected a converged relaxation by {protocol.name} ({protocol.hash_of('relax')}).")
    if not isfinite(doc.energy_per_atom) or not isclose(
        doc.energy_per_atom * doc.n_atoms, doc.energy, rel_tol=1e-6, abs_tol=1e-6
    ):
        raise InputError(f"{name}: energy {doc.energy} eV of {doc.n_atoms} atoms is not {doc.energy_per_atom} eV/atom.")
    if _formula(doc.structure, name) != _reduced(phase.formula):
        raise InputError(f"{name}: its structure is not {phase.formula}.")
    record = reference_record(phase, protocol)
    about = {key: value for key, value in record.items() if key != "name"}
    return {
        "uuid": document["uuid"],
        "index": 1,
        "name": record["name"],
        "completed_at": str(document.get("completed_at", "")),
        "hosts": [],
        "output": doc.to_mongo(),
        "metadata": {"hemiec": about | {"shipped": {"source": source, "versions": dict(doc.versions)}}},
    }


def _formula(structure: Mapping[str, Any], name: str) -> str:
    from pymatgen.core import Structure

    try:
        return Structure.from_dict(dict(structure)).composition.reduced_formula
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: its structure cannot be read ({error}).") from error


def _reduced(formula: str) -> str:
    from pymatgen.core import Composition

    return Composition(formula).reduced_formula
