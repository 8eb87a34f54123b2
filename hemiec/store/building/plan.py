"""The jobs of one candidate in one campaign as the builder sees them: what each returned, or why it did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, Literal

from pymatgen.core import Composition

from hemiec.composition.fractions import VACANCY
from hemiec.engines.mlip.protocol import MlipProtocol
from hemiec.engines.protocol import Protocol, load_protocol
from hemiec.engines.protocol import ProtocolReference as Reference
from hemiec.errors import ThermoError
from hemiec.schemas.calibration import CalibrationDoc
from hemiec.schemas.documents import NOT_ASKED, CandidateSpec
from hemiec.store.building.phases import Pool, corrected_energy
from hemiec.thermo.corrections import corrected_energy_per_atom
from hemiec.thermo.formation import composition

Output = Mapping[str, Any]
#: Tiers whose energies are compared with those of reference phases.
EnergyTier = Literal["relax", "confirm"]
#: First word of the steps that numbers come from, to their tier.
_TIER = {
    "basin": "relax",
    "sample": "barrier",
    "transport": "barrier",
    "gap": "gap",
    "static": "confirm",
    "dft": "confirm",
}


@dataclass(frozen=True)
class Plan:
    """The jobs of one candidate in one campaign, with what is known of each.

    ``outputs`` maps job uuid to JobStore document, ``failures`` job uuid to the last line of its error,
    ``references`` and ``dft_references`` phase_id to the record of the job of the relaxed phase and of its DFT energy,
    ``protocols`` tier to protocol, ``mobile`` the species whose barrier is asked for; ``stopped`` says why no more is
    computed for the candidate. ``calibrations`` are the current ones, ``pool`` are the phases of its hull,
    ``thermodynamics`` what an earlier build made of them, as stored.
    """

    plan_id: str
    candidate: CandidateSpec
    jobs: list[dict[str, Any]]
    references: dict[str, dict[str, Any]]
    dft_references: dict[str, dict[str, Any]]
    outputs: Mapping[str, Output]
    failures: Mapping[str, str]
    protocols: Mapping[str, Reference | None]
    mobile: str | None = None
    stopped: str | None = None
    calibrations: Sequence[CalibrationDoc] = ()
    pool: Pool | None = None
    thermodynamics: Mapping[str, Any] | None = None
    _known: dict[str, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)
    _loaded: dict[str, Protocol] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _by_step(self) -> dict[str, dict[str, Any]]:
        return {job["step"]: job for job in reversed(self.jobs)}  # of equal steps, the first

    def job(self, step: str) -> dict[str, Any] | None:
        """Return the record of the job of a step, or None if the plan has no such step."""
        return self._by_step.get(step)

    def output(self, step: str) -> dict[str, Any] | None:
        """Return what the job of a step returned, or None if it has not finished."""
        job = self.job(step)
        document = self.outputs.get(job["uuid"]) if job else None
        return document["output"] if document else None

    def finished(self, step: str) -> list[dict[str, Any]]:
        """Return the records of the finished jobs of a step, one per special quasirandom structure.

        Raises
        ------
        ThermoError
            If there is none; it says why.
        """
        found = [j for j in self.jobs if str(j["step"]).split(".")[0] == step and j["uuid"] in self.outputs]
        if not found:
            raise ThermoError(self.why_missing(step))
        return found

    def why_missing(self, step: str) -> str:
        """Return why the job of a step has no output."""
        job = self.job(step)
        if job is None:
            asked = self.protocols.get(_TIER[step.split("-")[0]]) is not None
            return self.stopped if asked and self.stopped else NOT_ASKED
        if job["uuid"] in self.failures:
            return f"job {job['uuid']} failed: {self.failures[job['uuid']]}"
        failed = next(
            (f"; {j['step']} failed: {self.failures[j['uuid']]}" for j in self.jobs if j["uuid"] in self.failures), ""
        )
        return f"job {job['uuid']} ({job['name']}) has not finished{failed}"

    def protocol(self, tier: str) -> Protocol:
        """Return the protocol of a tier.

        Raises
        ------
        ThermoError
            If the campaign does not ask for that tier.
        """
        if tier not in self._loaded:
            reference = self.protocols.get(tier)
            if reference is None:
                raise ThermoError(NOT_ASKED)
            self._loaded[tier] = load_protocol(reference)
        return self._loaded[tier]

    def model(self, tier: str) -> str:
        """Return model or functional of a tier's protocol with its name."""
        protocol = self.protocol(tier)
        model = protocol.model.force_field if isinstance(protocol, MlipProtocol) else protocol.functional
        return f"{model} ({protocol.name})"

    @cached_property
    def composition(self) -> Composition:
        """What the cell really holds, per formula unit; rounding may have moved it away from the candidate's fractions.

        The candidate's own amounts if there is no cell.
        """
        sqs = self.output("sqs")
        if sqs is None:
            return composition(self.candidate)
        amounts: dict[str, int] = {}
        for sublattice in sqs["sublattices"].values():
            for species, n in sublattice["amounts"].items():
                amounts[species] = amounts.get(species, 0) + n
        amounts.pop(VACANCY, None)
        return Composition({species: n / sqs["n_formula_units"] for species, n in amounts.items()})

    def corrected(self, tier: EnergyTier, energy_per_atom: float, of: Composition | None = None) -> float:
        """Return an energy of the candidate's cell, or of what was made of it, on the scale of its protocol.

        Raises
        ------
        ThermoError
            If it is not finite.
        """
        amounts = self.composition if of is None else of
        return corrected_energy_per_atom(
            self.candidate.candidate_id, amounts, energy_per_atom, self.protocol(tier).thermo
        )

    def reference_energies(self, tier: EnergyTier) -> dict[str, float]:
        """Return phase_id to energy of the campaign's reference phases, in eV/atom on the scale of their protocol.

        Those that are no finite number are left out.

        Raises
        ------
        ThermoError
            If the campaign does not ask for the tier.
        """
        if tier in self._known:
            return self._known[tier]
        settings = self.protocol(tier).thermo.model_dump_json()
        raw = energies_of({"relax": self.references, "confirm": self.dft_references}[tier], self.outputs)
        self._known[tier] = {
            phase_id: corrected_energy(phase_id, energy, settings)
            for phase_id, energy in raw.items()
            if isfinite(energy)
        }
        return self._known[tier]


def energies_of(references: Mapping[str, dict[str, Any]], outputs: Mapping[str, Output]) -> dict[str, float]:
    """Return phase_id to energy, in eV/atom, as computed, of every reference phase that finished and converged."""
    energies = {}
    for phase_id, job in references.items():
        document = outputs.get(job["uuid"])
        if document is None:
            continue
        output = document["output"]
        calculation = output.get("lowest", output)
        if calculation["converged"]:
            energies[phase_id] = float(calculation["energy_per_atom"])
    return energies
