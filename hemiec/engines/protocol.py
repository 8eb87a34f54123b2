"""Protocols: the physics of a calculation as data, named and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from hemiec.engines.gpaw.protocol import GpawProtocol
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.vasp.protocol import VaspProtocol
from hemiec.errors import CampaignError, did_you_mean
from hemiec.schemas.validation import read_yaml, validate

Protocol = MlipProtocol | GpawProtocol | VaspProtocol
DftProtocol = GpawProtocol | VaspProtocol
#: How a protocol is named where it is used: a shipped name, or its content, which may name a parent.
ProtocolReference = str | Mapping[str, Any]

_MODELS: dict[str, type[MlipProtocol] | type[GpawProtocol] | type[VaspProtocol]] = {
    "mlip": MlipProtocol,
    "gpaw": GpawProtocol,
    "vasp": VaspProtocol,
}


def protocol_names(engine: str | None = None) -> list[str]:
    """Return the names of the shipped protocols, of one engine if given."""
    folder = resources.files("hemiec.engines") / "protocols"
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    return [n for n in names if engine is None or n.startswith(f"{engine}-")]


def load_protocol(reference: ProtocolReference, *, where: str = "protocol") -> Protocol:
    """Return a protocol by its shipped name, or from its content.

    Raises
    ------
    CampaignError
        If there is no protocol or parent of that name, or the content has an unknown, missing or wrong key.
    """
    if isinstance(reference, str):
        return _shipped(reference, where)
    content = dict(reference)
    if "parent" in content:
        parent = content.pop("parent")
        if not isinstance(parent, str):
            raise CampaignError(f"{where}: key 'parent': expected the name of a shipped protocol, got {parent!r}.")
        name = content.get("name")
        if name in protocol_names():
            raise CampaignError(f"{where}: key 'name': {name!r} is a shipped protocol.", mend="choose another name")
        if name is None:
            raise CampaignError(f"{where}: key 'name' is missing.", mend=f"name it, such as {parent}-2")
        content = _merge(_shipped(parent, where).model_dump(mode="json"), content)
    engine = content.get("engine")
    if engine not in _MODELS:
        raise CampaignError(
            f"{where}: key 'engine': expected one of {', '.join(_MODELS)}, got {engine!r}.",
            mend="name a shipped protocol as `parent`, and only what differs from it",
        )
    return validate(_MODELS[engine], content, where, CampaignError)


def read_protocol_file(path: Path) -> dict[str, Any]:
    """Return the content of a user's protocol file after checking it; see :func:`load_protocol` for errors."""
    content = read_yaml(path, CampaignError)
    load_protocol(content, where=str(path))
    return content


def inlined(reference: ProtocolReference | None, folder: Path, *, where: str) -> ProtocolReference | None:
    """Return a protocol reference without paths: that of a YAML file is replaced by what stands in it.

    Parameters
    ----------
    reference
        A shipped name, a path that ends in .yaml or .yml, or a protocol's content.
    folder
        What relative paths start from.
    where
        What to say in errors.

    Raises
    ------
    CampaignError
        If the protocol is not valid; see :func:`load_protocol`.
    """
    if isinstance(reference, str) and reference.endswith((".yaml", ".yml")):
        return read_protocol_file(folder / reference)
    if reference is not None:
        load_protocol(reference, where=where)
    return reference


def load_mlip(reference: ProtocolReference, *, where: str = "protocol") -> MlipProtocol:
    """Return a machine-learned potential's protocol; other engines are refused with CampaignError."""
    protocol = load_protocol(reference, where=where)
    if not isinstance(protocol, MlipProtocol):
        raise CampaignError(
            f"{where}: {protocol.name!r} is not a machine-learned potential; "
            f"use one of {', '.join(protocol_names('mlip'))}."
        )
    return protocol


def load_dft(reference: ProtocolReference, *, where: str = "protocol") -> DftProtocol:
    """Return a DFT protocol; machine-learned potentials are refused with CampaignError."""
    protocol = load_protocol(reference, where=where)
    if isinstance(protocol, MlipProtocol):
        raise CampaignError(
            f"{where}: {protocol.name!r} has no electrons; "
            f"use one of {', '.join(protocol_names('gpaw') + protocol_names('vasp'))}."
        )
    return protocol


@lru_cache(maxsize=64)
def _shipped(name: str, where: str) -> Protocol:
    if name not in protocol_names():
        raise CampaignError(f"{where}: unknown protocol {name!r}; {did_you_mean(name, protocol_names())}")
    text = (resources.files("hemiec.engines") / "protocols" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if content.get("name") != name:
        raise CampaignError(f"protocol {name}: its file says name {content.get('name')!r}.")
    if "parent" in content:
        content = _merge(_shipped(content.pop("parent"), where).model_dump(mode="json"), content)
    protocol = validate(_MODELS[content["engine"]], content, f"protocol {name}", CampaignError)
    protocol._shipped = True
    return protocol


def _merge(parent: dict[str, Any], child: Mapping[str, Any], *, inner: bool = False) -> dict[str, Any]:
    """Return the parent with what the child says: mappings are merged, and null takes an entry out of one."""
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = _merge(old, value, inner=True)
        elif value is None and inner:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
