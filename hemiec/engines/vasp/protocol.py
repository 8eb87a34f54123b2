"""Protocols of VASP."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hemiec.engines.settings import HubbardU, NamedProtocol, SpinSettings, ThermoSettings
from hemiec.errors import did_you_mean
from hemiec.schemas.quantity import Document

IncarValue = bool | int | float | str | list[int] | list[float]

#: Written from the protocol's own fields, so that they stand in one place.
_OWN_FIELDS = {
    **dict.fromkeys(("LDAU", "LDAUTYPE", "LDAUU", "LDAUJ", "LDAUL"), "hubbard_u"),
    **dict.fromkeys(("MAGMOM", "ISPIN"), "spin"),
    "IMAGES": "neb.n_images",
}
#: pymatgen's key for an EDIFF that grows with the cell, and the tags of the VTST code, which VASP's list lacks.
_MORE_TAGS = {"EDIFF_PER_ATOM", "LCLIMB", "IOPT", "MAXMOVE", "ICHAIN"}


class VaspStep(Document):
    """One run of VASP: INCAR tags, k-points, and what it starts from."""

    incar: dict[str, IncarValue] = Field(
        description="INCAR tags, every one that decides the result; EDIFF_PER_ATOM, in eV, times the number of atoms "
        "gives EDIFF. MAGMOM, ISPIN and the LDAU tags follow from `spin` and `hubbard_u`."
    )
    kpoint_density_A3: float | None = Field(
        gt=0,
        description="Zone-centred mesh of this many k-points per angstrom^-3 of zone; null if `incar` has KSPACING.",
    )
    zero_weight_density_A3: float | None = Field(
        None, gt=0, description="Denser mesh with weight 0, on which a hybrid looks for the band edges; null for none."
    )
    reuse: list[Literal["WAVECAR", "CHGCAR"]] = Field(
        default_factory=list,
        description="Files of the step before that this one starts from, if that was in the same magnetic state.",
    )

    @field_validator("incar", mode="before")
    @classmethod
    def _taken_out(cls, incar: Any) -> Any:
        # null takes out a tag that came through YAML's merge key
        return {tag: value for tag, value in incar.items() if value is not None} if isinstance(incar, dict) else incar

    @model_validator(mode="after")
    def _tags(self) -> VaspStep:
        for tag in self.incar:
            if tag in _OWN_FIELDS:
                raise ValueError(f"incar: {tag} follows from `{_OWN_FIELDS[tag]}`; set that")
            if tag not in known_tags():
                raise ValueError(f"incar: VASP has no tag {tag}; {did_you_mean(tag, known_tags())}")
        if (self.kpoint_density_A3 is None) != ("KSPACING" in self.incar):
            raise ValueError("give either `kpoint_density_A3` or KSPACING in `incar`")
        if self.zero_weight_density_A3 is not None and self.kpoint_density_A3 is None:
            raise ValueError("`zero_weight_density_A3` needs `kpoint_density_A3`")
        return self


class VaspNeb(Document):
    """Nudged elastic bands in VASP."""

    n_images: int = Field(gt=0, le=31, description="Images between the end points; unit 1.")
    endpoint: VaspStep = Field(description="Relaxation of the end points in the fixed cell.")
    band: VaspStep = Field(description="The band; VASP runs all images at once.")
    image: VaspStep = Field(description="ApproxNEB: relaxation of each image with two fixed atoms.")


class VaspProtocol(NamedProtocol):
    """DFT with VASP; inputs are written and runs corrected through atomate2 and custodian."""

    engine: Literal["vasp"] = Field(description="What computes: this kind of protocol.")
    thermo: ThermoSettings
    functional: Literal["PBE", "r2SCAN", "HSE06"] = Field(description="Exchange-correlation functional.")
    energies: bool = Field(description="Whether total energies may be compared; false: gaps only.")
    relax: dict[str, VaspStep] | None = Field(
        description="Relaxations of cell and positions, one from the other in the order of their names; the static "
        "steps follow. Null if the protocol does not relax."
    )
    static: dict[str, VaspStep] = Field(
        min_length=1,
        description="Runs at fixed geometry, one from the other in the order of their names; the last is the result.",
    )
    gap_check: VaspStep | None = Field(description="Run on a denser mesh that the gap is looked for in; null for none.")
    potcar_functional: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] = Field(description="POTCAR release.")
    potcars: dict[str, str] = Field(description="Element to POTCAR; elements not named are refused.")
    hubbard_u: dict[str, HubbardU] = Field(description="Element to U, used in compounds with O or F.")
    spin: SpinSettings
    refused_elements: list[str] = Field(description="Elements this protocol does not treat, though a POTCAR exists.")
    barrier: Literal["single-points", "neb", "approx-neb"] = Field(
        description="single-points: energies at the saddle and minima of a cheaper engine; neb: climbing-image band "
        "(VASP with VTST); approx-neb: images relaxed one by one (doi:10.1063/1.4960790)."
    )
    neb: VaspNeb | None = Field(description="Bands; null if the protocol has none.")
    max_corrections: int = Field(ge=0, description="Errors that custodian mends in one run before it gives up; unit 1.")
    walltime_h: float | None = Field(
        gt=0,
        description="A run that would take longer is stopped and goes on from its restart, in h; null for no limit.",
    )
    max_restarts: int = Field(ge=0, description="How often a run goes on after its wall time; unit 1.")

    @model_validator(mode="after")
    def _complete(self) -> VaspProtocol:
        if self.barrier != "single-points" and self.neb is None:
            raise ValueError(f"`barrier: {self.barrier}` needs `neb`")
        if self.walltime_h is not None:
            runs = [*(self.relax or {}).values(), *self.static.values()]
            if not all(step.incar.get("LWAVE") is True for step in runs):
                raise ValueError("`walltime_h` needs LWAVE: true in every step but the gap check, to restart from")
        return self


@lru_cache(maxsize=1)
def known_tags() -> frozenset[str]:
    """Return the INCAR tags that pymatgen knows; its list is read without importing it."""
    package = find_spec("pymatgen")
    for folder in package.submodule_search_locations if package and package.submodule_search_locations else ():
        path = Path(folder) / "io" / "vasp" / "incar_parameters.json"
        if path.is_file():
            return frozenset(json.loads(path.read_text(encoding="utf-8"))) | _MORE_TAGS
    raise FileNotFoundError("pymatgen's list of INCAR tags (io/vasp/incar_parameters.json) is not installed")
