"""One number as it is stored and ranked: value, unit, method, spread and provenance."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Document(BaseModel):
    """Base of all stored documents: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    def to_mongo(self) -> dict[str, Any]:
        """Return the document as plain JSON types, for MongoDB or a file."""
        return self.model_dump(mode="json")


class Quantity(Document):
    """A value with unit, method, spread and provenance; or no value, with the reason."""

    value: float | None = Field(description="The number in `unit`; null if there is none, then `reason` says why.")
    unit: str = Field(description="Unit of value, std, min and max.")
    method: str = Field(description="How the value was computed: protocol, functional, statistic.")
    n: int = Field(0, ge=0, description="Number of independent samples behind the value; unit 1.")
    std: float | None = Field(
        None, ge=0, description="Sample standard deviation, as `method` says over what, in `unit`."
    )
    min: float | None = Field(None, description="Smallest sample, in `unit`.")
    max: float | None = Field(None, description="Largest sample, in `unit`.")
    interval: tuple[float, float] | None = Field(None, description="90 % interval of `value`, in `unit`.")
    uncorrected: float | None = Field(None, description="Value before the correction by `calibration`, in `unit`.")
    calibration: str | None = Field(
        None, description="calibration_id of the correction of value, std, min and max; null if there is none."
    )
    reason: str | None = Field(None, description="Why there is no value; null if there is one.")
    protocol: str | None = Field(None, description="Name of the protocol that computed the samples.")
    protocol_hash: str | None = Field(None, description="Hash of that protocol's physics.")
    job_uuids: list[str] = Field(default_factory=list, description="jobflow jobs the value was computed from.")
    reference_job_uuids: list[str] = Field(
        default_factory=list, description="jobflow jobs of the reference phases the value is relative to."
    )

    @model_validator(mode="after")
    def _value_or_reason(self) -> Quantity:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a quantity has either a value or a reason for having none")
        return self
