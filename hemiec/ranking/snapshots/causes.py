"""Why one number of a candidate is another one than before, from what is stored with both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hemiec.ranking.columns import BY_PROPERTY
from hemiec.ranking.snapshots.changes import listed
from hemiec.ranking.snapshots.sides import Facts
from hemiec.schemas.diff import CauseKind, DiffCause
from hemiec.schemas.quantity import Quantity

#: Properties made from the energies of reference phases by the thermodynamics code.
_THERMO = ("energy_above_hull", "interface_reaction_energy")
_MOST_DIGITS = 9

#: Hash of a protocol to phase to energy, in eV/atom.
Energies = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Change:
    """One property of one candidate, before and after.

    Parameters
    ----------
    name
        The property.
    old, new
        All that is known of the candidate.
    energies_old, energies_new
        The reference phases; None if they were not kept.
    """

    name: str
    old: Facts
    new: Facts
    energies_old: Energies | None
    energies_new: Energies | None

    @property
    def before(self) -> Quantity:
        """The quantity before."""
        return self.old.quantities[self.name]

    @property
    def after(self) -> Quantity:
        """The quantity after."""
        return self.new.quantities[self.name]


def causes_of(change: Change) -> list[DiffCause]:
    """Return why a value is another one; never empty.

    What decides is told first: another protocol or correction, then other jobs, other phases on the hull, reference
    phases computed anew, and last the versions of the code, which are the cause only if nothing else is.
    """
    before, after = change.before, change.after
    if after.value is None:
        return [_cause(change, "new-data", f"{_title(change)} has no value any more: {after.reason}")]
    if before.value is None:
        why = _jobs_said(after.job_uuids) or "no job is named"
        text = f"{_title(change)} is known now, {_number(after.value, change)}: new data, {why}"
        return [_cause(change, "new-data", text, job_uuids=list(after.job_uuids))]
    found = [*_of_protocol(change), *_of_correction(change), *_of_data(change), *_of_phases(change)]
    return found or list(_of_code(change))


def changed_text(change: Change) -> str:
    """Return the property with both values: ``band gap 0.10 -> 0.35 eV``."""
    before, after = change.before.value, change.after.value
    assert before is not None and after is not None
    column = BY_PROPERTY[change.name]
    digits = column.digits
    while f"{before:.{digits}f}" == f"{after:.{digits}f}" and digits < _MOST_DIGITS:
        digits += 1
    return f"{column.phrase} {before:.{digits}f} -> {after:.{digits}f} {column.unit}"


def _of_protocol(change: Change) -> Iterator[DiffCause]:
    before, after = change.before, change.after
    if (before.protocol, before.protocol_hash) == (after.protocol, after.protocol_hash):
        return
    jobs = _new(before.job_uuids, after.job_uuids)
    text = f"{changed_text(change)}: protocol {_protocol(before)} -> {_protocol(after)}"
    yield _cause(change, "model", f"{text}{', ' + _jobs_said(jobs) if jobs else ''}", job_uuids=jobs)


def _of_correction(change: Change) -> Iterator[DiffCause]:
    before, after = change.before.calibration, change.after.calibration
    if before == after:
        return
    if before is None:
        words = f"corrected by {after} now"
    elif after is None:
        words = f"not corrected by {before} any more"
    else:
        words = f"correction {before} -> {after}"
    yield _cause(change, "model", f"{changed_text(change)}: {words}")


def _of_data(change: Change) -> Iterator[DiffCause]:
    before, after = change.before, change.after
    if before.protocol_hash != after.protocol_hash:
        return
    jobs, gone = _new(before.job_uuids, after.job_uuids), _new(after.job_uuids, before.job_uuids)
    again = _run_again(change)
    if jobs:
        words = f"new data, {_jobs_said(jobs)}"
    elif gone:
        words = f"without {_jobs_said(gone)}, which counted before"
    elif again:
        jobs, words = again, f"new data, {_jobs_said(again)} ran again"
    else:
        return
    samples = f", {before.n} -> {after.n} samples" if before.n != after.n else ""
    yield _cause(change, "new-data", f"{changed_text(change)}: {words}{samples}", job_uuids=jobs)


def _run_again(change: Change) -> list[str]:
    """Return the jobs behind both values that finished anew: a job that runs again keeps its uuid."""
    was, is_now = change.old.completed, change.new.completed
    both = [uuid for uuid in dict.fromkeys(change.after.job_uuids) if was.get(uuid) and is_now.get(uuid)]
    return [uuid for uuid in both if was[uuid] != is_now[uuid]]


def _of_phases(change: Change) -> Iterator[DiffCause]:
    """Yield what reference phases have to do with it: others on the hull, or the same with other energies."""
    if change.before.protocol_hash != change.after.protocol_hash:
        return
    old, new = change.old.decomposition, change.new.decomposition
    on_hull = change.name == "energy_above_hull"
    if on_hull and old is not None and new is not None and set(old) != set(new):
        yield _of_hull(change, _new(old, new), _new(new, old))
        return
    other = set(change.before.reference_job_uuids) != set(change.after.reference_job_uuids)
    moved = _moved_energies(change) if on_hull else {}
    if other or moved:
        jobs = _new(change.before.reference_job_uuids, change.after.reference_job_uuids)
        what = f"{listed(list(moved.values()))} computed anew" if moved else "its reference energies are of other jobs"
        said = f", {_jobs_said(jobs)}" if jobs else ""
        unsure = "" if not on_hull or (old is not None and new is not None) else "; which phases was not kept"
        text = f"{changed_text(change)}: {what}{said}{unsure}"
        yield _cause(change, "references", text, job_uuids=jobs, phases=list(moved))


def _of_hull(change: Change, came: list[str], went: list[str]) -> DiffCause:
    if came:
        known = (change.energies_old or {}).get(change.after.protocol_hash or "", {})
        fresh = [phase for phase in came if change.energies_old is not None and phase not in known]
        verb = "is" if len(came) == 1 else "are"
        words = f"{listed(came)} {verb} new among the phases it decomposes to"
        if fresh:
            words += f" ({listed(fresh)} had not been computed)"
    else:
        verb = "is" if len(went) == 1 else "are"
        words = f"{listed(went)} {verb} no longer among the phases it decomposes to"
    return _cause(change, "hull", f"{changed_text(change)}: {words}", phases=came or went)


def _moved_energies(change: Change) -> dict[str, str]:
    """Return the phases that it decomposes to and whose energy changed, each with both energies in words."""
    protocol = change.after.protocol_hash or ""
    if change.energies_old is None or change.energies_new is None or change.new.decomposition is None:
        return {}
    old, new = change.energies_old.get(protocol, {}), change.energies_new.get(protocol, {})
    shared = [phase for phase in change.new.decomposition if phase in old and phase in new]
    return {p: f"{p} ({old[p]:.4f} -> {new[p]:.4f} eV/atom)" for p in shared if old[p] != new[p]}


def _of_code(change: Change) -> Iterator[DiffCause]:
    versions = []
    if change.name in _THERMO:
        versions.append(("thermodynamics code", change.old.thermo_version, change.new.thermo_version))
    versions.append(("builder", change.old.builder_version, change.new.builder_version))
    known = [(what, a, b) for what, a, b in versions if a is not None and b is not None and a != b]
    if known:
        said = " and ".join(f"{what} {a} -> {b}" for what, a, b in known)
        yield _cause(change, "model", f"{changed_text(change)}: {said}, from the same jobs")
        return
    words = "from the same jobs and protocol; what is stored does not tell why"
    if change.before.method != change.after.method:
        words = f"from the same jobs, by another method now: {change.after.method}"
    yield _cause(change, "unknown", f"{changed_text(change)}: {words}")


def _cause(
    change: Change, kind: CauseKind, text: str, *, job_uuids: Sequence[str] = (), phases: Sequence[str] = ()
) -> DiffCause:
    return DiffCause(
        kind=kind,
        property=change.name,
        text=f"{text[0].upper()}{text[1:]}.",
        old=change.before.value,
        new=change.after.value,
        unit=change.after.unit,
        job_uuids=list(job_uuids),
        phases=list(phases),
    )


def _title(change: Change) -> str:
    return BY_PROPERTY[change.name].title


def _number(value: float, change: Change) -> str:
    column = BY_PROPERTY[change.name]
    return f"{value:.{column.digits}f} {column.unit}"


def _protocol(quantity: Quantity) -> str:
    return f"{quantity.protocol or 'unknown'} (hash {quantity.protocol_hash or 'unknown'})"


def _new(old: Sequence[str], new: Sequence[str]) -> list[str]:
    known = set(old)
    return [each for each in dict.fromkeys(new) if each not in known]


def _jobs_said(uuids: Sequence[str]) -> str:
    if not uuids:
        return ""
    short = [uuid[:8] for uuid in uuids]
    return f"job{'s' if len(short) > 1 else ''} {listed(short, 2)}"
