"""The indexes of the store, in one table: `prepare` makes what is missing and drops what was taken out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, DESCENDING

from hemiec.schemas.documents import PROPERTIES


@dataclass(frozen=True)
class Index:
    """One index: fields in their order, a leading ``-`` for descending.

    Parameters
    ----------
    fields
        Paths of the fields.
    unique
        Whether no two documents may be equal in them.
    name
        Its name; default MongoDB's own, made of the fields.
    only
        Filter of the documents that are in it; default all.
    """

    fields: tuple[str, ...]
    unique: bool = False
    name: str | None = None
    only: tuple[tuple[str, Any], ...] = ()

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Fields and directions as pymongo takes them."""
        return [(field.lstrip("-"), DESCENDING if field.startswith("-") else ASCENDING) for field in self.fields]

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the fields, as pymongo takes it; the name included."""
        options: dict[str, Any] = {"name": self.name or "_".join(f"{field}_{way}" for field, way in self.keys)}
        if self.unique:
            options["unique"] = True
        if self.only:
            options["partialFilterExpression"] = dict(self.only)
        return options


def _of_candidate(key: str) -> tuple[Index, ...]:
    """Return the indexes of what belongs to a result of a candidate."""
    return Index((key,), unique=True), Index(("candidate_id", "plan_id"))


def _sorted_by(key: str, *fields: str) -> tuple[Index, ...]:
    """Return the indexes of what pages can be sorted by: equal values are in the order of the collection's key."""
    return tuple(Index((field, key)) for field in fields)


#: What candidates are ranked by: an index for each order.
_VALUES = tuple(f"{name}.value" for name in PROPERTIES)
#: Of an order that is rarely asked for with conditions on more than the ranked values there is only a small index: a
#: large one costs the server a sixth more for each candidate that is written.
_SMALL_ONLY = "interface_reaction_energy.value"
#: What is asked for beside, in these indexes too: conditions on it are then checked without fetching documents, which
#: takes thirty times as long. MongoDB allows 32 fields; each takes 9 bytes per candidate.
_ASKED = (
    "migration_barrier.std",
    *(
        f"candidate.{name}"
        for name in (
            # Without `tau_probability`, which follows from `bartel_tau`: there is no room for more.
            *("tolerance_factor", "bartel_tau", "octahedral_factor", "configurational_entropy"),
            *("entropy_A", "entropy_B", "entropy_per_atom", "oxygen_deficiency", "mean_A_valence", "mean_B_valence"),
            *("valence_variance_B", "radius_mean_A", "radius_mean_B", "radius_variance_A", "radius_variance_B"),
            *("electronegativity_mean_A", "electronegativity_mean_B", "molar_mass", "raw_material_cost", "scarcity"),
        )
    ),
    *("n_species.A", "n_species.B", "nelements", "chemsys"),
)
#: Ids are hashes, so those before this one are a random sample: one candidate in 1,024.
SAMPLE = {"candidate_id": {"$lt": "hm-004"}}
_JOB = "spec.hemiec."

#: Collection to its indexes.
INDEXES: dict[str, tuple[Index, ...]] = {
    "outputs": (
        # Without it every reference look-up scans all outputs (jobflow issue 627).
        Index(("uuid", "index"), unique=True),
        Index(("metadata.hemiec.candidate_id",)),
        # What the builder has not seen yet.
        Index(("completed_at",)),
    ),
    "data.files": (Index(("metadata.blob_uuid",)), Index(("metadata.job_uuid",))),
    "data_index": (Index(("blob_uuid",), unique=True), Index(("job_uuid",))),
    "candidates": (
        Index(("candidate_id",), unique=True),
        Index(("campaigns",)),
        # Of indexes that begin alike the smaller one comes first; a query takes the first that holds all it asks for.
        *(
            Index((value, "candidate_id", *(v for v in _VALUES if v != value), *asked), name=f"{name}_{value}")
            for name, asked in (("ranked_by", ("chemsys",)), ("by", _ASKED))
            for value in _VALUES
            if asked != _ASKED or value != _SMALL_ONLY
        ),
        Index(("candidate_id", *_VALUES, *_ASKED), name="sample", only=tuple(SAMPLE.items())),
        *_sorted_by(
            "candidate_id",
            "candidate.tolerance_factor",
            "candidate.bartel_tau",
            "candidate.configurational_entropy",
            "candidate.label",
            "chemsys",
            "last_updated",
        ),
        Index(("elements",)),
    ),
    "hops": (*_of_candidate("hop_id"), *_sorted_by("hop_id", "forward_barrier", "reverse_barrier", "label")),
    "transport": _of_candidate("transport_id"),
    "thermodynamics": _of_candidate("thermodynamics_id"),
    "structures": (*_of_candidate("structure_id"), *_sorted_by("structure_id", "chemsys", "label", "energy_per_atom")),
    "optimade": (
        Index(("id",), unique=True),
        Index(("candidate_id",)),
        *_sorted_by(
            "id",
            *("elements", "nelements", "chemical_formula_reduced", "chemical_formula_anonymous", "last_modified"),
            *("_hemiec_kind", "_hemiec_label", "_hemiec_band_gap", "_hemiec_migration_barrier"),
            *("_hemiec_formation_energy_per_atom", "_hemiec_formation_enthalpy_from_oxides_per_atom"),
            *("_hemiec_energy_above_hull", "_hemiec_interface_reaction_energy", "_hemiec_tolerance_factor"),
        ),
    ),
    "references": (Index(("reference_id",), unique=True), Index(("job_uuid",))),
    "campaigns": (Index(("name",), unique=True),),
    "plans": (
        Index(("campaign", "candidate.candidate_id"), unique=True),
        Index(("campaign", "order")),
        # In this order the builder reads all of them, and by a job's uuid whose it is.
        Index(("candidate.candidate_id", "campaign")),
        Index(("jobs.uuid",)),
        Index(("changed_at",)),
    ),
    "failed_jobs": (Index(("uuid",), unique=True), Index(("changed_at",))),
    "build_failures": (Index(("candidate_id",), unique=True),),
    "calibrations": (Index(("calibration_id",), unique=True),),
    "imported": (Index(("candidate_id",), unique=True),),
    "leaderboards": (Index(("leaderboard_id",), unique=True), Index(("-created_at", "leaderboard_id"))),
    "leaderboard_entries": (
        Index(("leaderboard_id", "order"), unique=True),
        Index(("candidate_id",)),
    ),
    "fireworks": (
        # Which jobs are there, in which state; read without touching the Fireworks themselves.
        Index((f"{_JOB}uuid", "state", "fw_id")),
        # What `hemiec status` counts.
        Index(
            (
                *(f"{_JOB}{name}" for name in ("campaigns", "tier", "kind", "protocol", "resources.cores")),
                *("state", "fw_id"),
            ),
            name="hemiec_tally",
        ),
        # What a worker takes next.
        Index(("state", "spec._category", f"{_JOB}campaigns", "-spec._priority"), name="hemiec_next"),
    ),
    "launches": (Index(("fw_id", "runtime_secs")),),
}
