"""How the rules of two rankings differ, and what their numbers were computed by, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hemiec.ranking.columns import BY_PROPERTY
from hemiec.schemas.definition import Criterion, LeaderboardDefinition
from hemiec.schemas.snapshot import PropertyUse, SnapshotManifest

#: Of a definition, what does not decide ranks.
_WORDS = {"name", "title", "description", "draws", "top", "seed"}


def definition_changes(old: LeaderboardDefinition, new: LeaderboardDefinition) -> list[str]:
    """Return how two definitions differ in what decides ranks, one sentence each."""
    return list(_definition_changes(old, new))


def same_rules(old: LeaderboardDefinition, new: LeaderboardDefinition) -> bool:
    """Return whether two definitions rank in the same way; names and draws do not matter."""
    return old.model_dump(exclude=_WORDS) == new.model_dump(exclude=_WORDS)


def _definition_changes(old: LeaderboardDefinition, new: LeaderboardDefinition) -> Iterator[str]:
    before = {criterion.property: criterion for criterion in old.criteria}
    after = {criterion.property: criterion for criterion in new.criteria}
    for name in sorted(before.keys() | after.keys(), key=list(BY_PROPERTY).index):
        if name not in after:
            yield f"{_title(name)} does not count any more (weight {before[name].weight:g} before)."
        elif name not in before:
            yield f"{_title(name)} counts now, with weight {after[name].weight:g}."
        else:
            yield from _criterion_changes(before[name], after[name])
    if old.where != new.where:
        yield f"Condition: {_quoted(old.where)} -> {_quoted(new.where)}."
    if old.ties != new.ties:
        yield f"Ties: {_ties(old)} -> {_ties(new)}."


def _criterion_changes(old: Criterion, new: Criterion) -> Iterator[str]:
    for name in Criterion.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after and name not in ("property", "standard_uncertainty"):
            yield f"{_title(old.property)}: {name.replace('_', ' ')} {_said(before)} -> {_said(after)}."


def model_changes(old: SnapshotManifest, new: SnapshotManifest) -> list[str]:
    """Return how protocols, corrections, reference phases and versions of two snapshots differ, one sentence each."""
    return list(_model_changes(old, new))


def _model_changes(old: SnapshotManifest, new: SnapshotManifest) -> Iterator[str]:
    # Of other candidates, other protocols and corrections would say nothing.
    same_choice = (old.campaign, old.where) == (new.campaign, new.where)
    for name in (name for name in BY_PROPERTY if same_choice and name in old.properties and name in new.properties):
        before, after = old.properties[name], new.properties[name]
        if _protocols(before) != _protocols(after):
            yield f"{_title(name)}: computed by {_protocols(before)} -> {_protocols(after)}."
        if before.calibrations.keys() != after.calibrations.keys():
            yield f"{_title(name)}: corrected by {_names(before.calibrations)} -> {_names(after.calibrations)}."
    yield from _reference_changes(old, new)
    for what, versions in (
        ("Builder", (old.builder_versions, new.builder_versions)),
        ("Thermodynamics code", (old.thermo_versions, new.thermo_versions)),
    ):
        if versions[0] != versions[1]:
            yield f"{what}: version {_names(versions[0])} -> {_names(versions[1])}."
    if old.versions.get("hemiec") != new.versions.get("hemiec"):
        yield f"hemiec: {old.versions.get('hemiec')} -> {new.versions.get('hemiec')}."


def _reference_changes(old: SnapshotManifest, new: SnapshotManifest) -> Iterator[str]:
    before, after = old.references.energies_per_atom, new.references.energies_per_atom
    for protocol in sorted(before.keys() | after.keys()):
        one, other = before.get(protocol, {}), after.get(protocol, {})
        changed = sorted(name for name in one.keys() & other.keys() if one[name] != other[name])
        for words, names in (
            ("are new", sorted(other.keys() - one.keys())),
            ("are gone", sorted(one.keys() - other.keys())),
            ("have another energy", changed),
        ):
            if names:
                yield f"Reference phases of protocol {protocol}: {len(names)} {words} ({listed(names)})."


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return some names for a sentence, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _protocols(use: PropertyUse) -> str:
    return _names(sorted(f"{p.protocol or 'unknown'} ({p.protocol_hash or 'no hash'})" for p in use.protocols))


def _names(found: Any) -> str:
    return ", ".join(map(str, found)) or "none"


def _title(name: str) -> str:
    return BY_PROPERTY[name].title


def _quoted(where: str) -> str:
    return f"'{where}'" if where else "none"


def _ties(definition: LeaderboardDefinition) -> str:
    by = f" by {', '.join(definition.ties.by)}" if definition.ties.by else ""
    return f"{definition.ties.rule}{by} within {definition.ties.tolerance:g}"


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_said, value))}]"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
