"""Pairs of a cheap and a dear value of one cell, and the correction fitted to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from hemiec.schemas.documents import SCHEMA_VERSION
from hemiec.schemas.quantity import Document

CalibratedProperty = Literal["migration_barrier", "vacancy_formation_energy", "formation_enthalpy_from_oxides_per_atom"]
ChemistryClass = Literal["closed-shell", "open-shell"]


class CalibrationPoint(Document):
    """One property of one cell in two tiers."""

    property: CalibratedProperty = Field(
        description="What was computed: the barrier of one direction of one hop, the energy of one vacancy, or the "
        "enthalpy of one cell."
    )
    low: float = Field(description="Value of the cheap tier, in `unit`.")
    high: float = Field(description="Value of the dear tier, in `unit`.")
    unit: str = Field(description="Unit of low and high.")
    group: str = Field(
        description="Cell that the point belongs to; points of a cell are correlated and left out together."
    )
    label: str = Field(description="Short formula for people.")
    open_shell_fraction: float = Field(
        ge=0, le=1, description="Part of the B sublattice with a partly filled d shell: the chemistry class; unit 1."
    )
    low_protocol: str = Field(description="Protocol of the cheap tier.")
    low_protocol_hash: str = Field(description="Hash of the physics of its job.")
    high_protocol: str = Field(description="Protocol of the dear tier.")
    high_protocol_hash: str = Field(description="Hash of its physics.")
    magnetic_start: str | None = Field(
        None, description="Magnetic start of the dear tier; null without spin or not kept."
    )
    job_uuids: list[str] = Field(default_factory=list, description="jobflow jobs of both tiers, if the store has them.")
    source: str = Field(description="Where the numbers are: shipped set and cell, or candidate and plan of the store.")


class CalibrationSet(Document):
    """Points that are shipped or given as a file, with what they were computed from."""

    name: str = Field(description="Name of the set.")
    description: str = Field(description="What was computed and how.")
    created_at: datetime = Field(description="When it was gathered, UTC.")
    versions: dict[str, str] = Field(description="Versions of hemiec and the codes.")
    protocols: dict[str, dict[str, Any]] = Field(description="Name to content of the protocols behind the numbers.")
    references: dict[str, Any] = Field(
        default_factory=dict, description="Energies that values refer to, such as O2 in each tier."
    )
    cells: dict[str, dict[str, Any]] = Field(
        description="Group to provenance: composition, cell, seed, hop, and energy, moments and iterations of each run."
    )
    points: list[CalibrationPoint] = Field(description="The numbers.")


class Estimate(Document):
    """A fitted number."""

    value: float = Field(description="Posterior mean, in the unit of what it is of.")
    std: float = Field(ge=0, description="Posterior standard deviation, in the unit of what it is of.")


class ClassFit(Document):
    """The correction in one chemistry class: high = center + offset + slope (low - center) + residual."""

    chemistry: ChemistryClass = Field(description="Chemistry class.")
    offset: Estimate = Field(description="high - low at `center`, in the unit of the property.")
    slope: Estimate = Field(description="Change of high with low; unit 1.")
    residual_std: Estimate = Field(description="Standard deviation of one point about the line, in the unit.")
    n_points: int = Field(
        ge=0, description="Points of this class, which is open-shell from a fraction of one half; unit 1."
    )
    n_groups: int = Field(ge=0, description="Cells of this class; unit 1.")
    coverage: float | None = Field(
        description="Part of those points inside their 90 % interval when their cell is left out; unit 1; null "
        "without points."
    )


class CalibrationFit(Document):
    """The correction of one property."""

    property: CalibratedProperty = Field(description="Property.")
    unit: str = Field(description="Unit of the property.")
    low_protocol_hash: str = Field(description="Hash of the cheap tier that it corrects; others are refused.")
    center: float = Field(description="Mean of low over the points, in `unit`.")
    range: tuple[float, float] = Field(description="Smallest and largest low, in `unit`.")
    open_shell_range: tuple[float, float] = Field(
        description="Smallest and largest open-shell fraction on B of the points; unit 1."
    )
    classes: list[ClassFit] = Field(description="The correction by class; mixed B sublattices lie between, linearly.")
    intraclass_correlation: Estimate = Field(description="Correlation of the residuals of one cell; unit 1.")
    n_points: int = Field(description="Points; unit 1.")
    n_groups: int = Field(description="Cells; unit 1.")
    coverage: float = Field(
        description="Part of the points inside their 90 % interval when their cell is left out; unit 1."
    )
    error_before: float = Field(description="Root mean square of high - low, in `unit`.")
    error_after: float = Field(
        description="Root mean square of high - corrected low when the point's cell is left out, in `unit`."
    )


class CalibrationDoc(Document):
    """Everything needed to correct one protocol towards another: the points, and what was fitted to them."""

    calibration_id: str = Field(description="Content hash of model and points: cal- and 12 hex digits.")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout; unit 1.")
    model: str = Field(description="Name and version of the statistical model that predicts from the points.")
    low_protocol: str = Field(description="Protocol that is corrected.")
    high_protocol: str = Field(description="Protocol that it is corrected to.")
    high_protocol_hash: str = Field(description="Hash of its physics.")
    fits: list[CalibrationFit] = Field(description="One per property and hash of the cheap tier.")
    too_few: dict[str, str] = Field(default_factory=dict, description="Property to why it has no correction.")
    points: list[CalibrationPoint] = Field(description="The points, in a fixed order.")
    created_at: datetime = Field(description="When it was fitted, UTC.")
    versions: dict[str, str] = Field(description="Version of hemiec.")
