"""Energies of reference phases that come with hemiec, as the store would hold them had the jobs run there.

One file per protocol in ``hemiec/thermo/references/energies``, made by :func:`pack` from outputs of the very jobs that
a user would run. They are found by the hash of the protocol's physics: another model or other settings, and none of
them is used.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hemiec.errors import ThermoError

#: Decimals that are kept of lengths, coordinates, forces and stresses: a thousandth of what a relaxation leaves open.
_DECIMALS = 7
#: Packages whose version may change an energy; the rest only runs them.
_DECISIVE = ("chgnet", "sevenn")


@lru_cache(maxsize=8)
def _contents(protocol_hash: str) -> Mapping[str, Any]:
    for file in (resources.files("hemiec.thermo.references") / "energies").iterdir():
        if file.name.endswith(".json.gz"):
            content: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
            if content["protocol_hash"] == protocol_hash:
                return content
    return {"protocol": None, "outputs": [], "versions": {}, "not_converging": {}}


@lru_cache(maxsize=8)
def shipped_outputs(protocol_hash: str) -> Mapping[str, dict[str, Any]]:
    """Return what the store would hold of the jobs of the shipped phases, by uuid; empty if none are shipped.

    Do not change it: it is read once per process.

    Parameters
    ----------
    protocol_hash
        ``load_mlip(name).hash_of("relax")``.
    """
    return {output["uuid"]: output for output in _contents(protocol_hash)["outputs"]}


def shipped_versions(protocol_hash: str) -> dict[str, str]:
    """Return the versions that computed the shipped energies of a protocol; empty if none are shipped."""
    return dict(_contents(protocol_hash)["versions"])


def not_converging(protocol_hash: str) -> frozenset[str]:
    """Return the ids of the phases that the protocol does not relax to an end, so that none is shipped of them."""
    return frozenset(_contents(protocol_hash)["not_converging"])


def reasons_left_out(protocol_hash: str) -> dict[str, str]:
    """Return phase_id to why it is not shipped although it was tried."""
    return dict(_contents(protocol_hash)["not_converging"])


def version_differences(protocol_hash: str) -> dict[str, tuple[str, str]]:
    """Return package to (shipped, installed) version where they differ and an energy may depend on it.

    A package that is not installed computes nothing here and is left out.
    """
    found = {}
    for package in _DECISIVE:
        theirs = shipped_versions(protocol_hash).get(package)
        try:
            ours = version(package)
        except PackageNotFoundError:
            continue
        if theirs is not None and theirs != ours:
            found[package] = (theirs, ours)
    return found


def pack(
    protocol: str,
    protocol_hash: str,
    outputs: Iterable[Mapping[str, Any]],
    *,
    left_out: Mapping[str, str],
    wanted: Collection[str],
    packages: Mapping[str, str],
) -> bytes:
    """Return the content of a shipped file: the same bytes for the same outputs.

    Parameters
    ----------
    protocol, protocol_hash
        Name, and hash of what a relaxation depends on.
    outputs
        Documents of the collection ``outputs`` of converged jobs. Trajectories, forces and folders are left out.
    left_out
        phase_id to why there is no output.
    wanted
        Uuids of the phases as they are tabulated now; other outputs are of a table that has changed.
    packages
        Versions of more packages that had a part, such as pymatgen, which made the starting structures.

    Raises
    ------
    ThermoError
        If an output is of another protocol, did not converge, or the same package computed in several versions.
    """
    kept: dict[str, dict[str, Any]] = {}
    versions: dict[str, set[str]] = {}
    for document in outputs:
        result = document["output"]
        name = document["metadata"]["hemiec"]["phase_id"]
        if result["protocol_hash"] != protocol_hash or not result["converged"]:
            raise ThermoError(f"{name}: expected a converged relaxation by {protocol} ({protocol_hash}).")
        for package, found in result["versions"].items():
            versions.setdefault(package, set()).add(found)
        if document["uuid"] in wanted:
            kept[document["uuid"]] = _slim(document)
    several = [package for package in _DECISIVE if len(versions.get(package, ())) > 1]
    if several:
        raise ThermoError(f"the energies of {protocol} are of several versions of {', '.join(several)}.")
    content = {
        "protocol": protocol,
        "protocol_hash": protocol_hash,
        "versions": dict(packages) | {package: " and ".join(sorted(found)) for package, found in versions.items()},
        "not_converging": dict(left_out),
        "outputs": sorted(kept.values(), key=lambda output: output["metadata"]["hemiec"]["phase_id"]),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _slim(document: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(document["output"]) | {"forces": None, "trajectory": None, "directory": None}
    for key in ("structure", "stress"):
        result[key] = _rounded(result[key])
    return {
        "uuid": document["uuid"],
        "index": document["index"],
        "name": document["name"],
        "completed_at": str(document["completed_at"]),
        "metadata": document["metadata"],
        "output": result,
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS) + 0.0  # no -0.0
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
