"""Reference phases as jobs: each computed once per protocol, shared by all campaigns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Maker

from hemiec.engines.makers import relax_maker
from hemiec.engines.protocol import load_dft, load_mlip
from hemiec.thermo.references import ReferencePhase
from hemiec.workflows.identity import identify
from hemiec.workflows.jobs import GivenMomentsMaker
from hemiec.workflows.solutions import solution_jobs

PRIORITY = 60


@dataclass
class ReferenceMaker(Maker):
    """Relax a reference phase, a molecule in its fixed cell; with DFT, compute the energy of what was relaxed.

    Parameters
    ----------
    name
        Flow name; the phase is added.
    protocol
        The MLIP protocol that relaxes: a shipped name, or a protocol itself.
    confirm
        The DFT protocol of the energies; None for none.
    """

    name: str = "reference"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    confirm: str | dict[str, Any] | None = None

    def make(self, phase: ReferencePhase) -> Flow:
        """Return a flow named by phase, structure and protocols."""
        protocol = load_mlip(self.protocol)
        about = {"phase_id": phase.phase_id, "label": f"{phase.formula} ({phase.phase})"}
        structure = phase.structure()
        relax = relax_maker(protocol, relax_cell=not phase.is_molecule, name=f"relax {phase.formula}").make(structure)
        identify(
            relax,
            "reference",
            {"phase": phase.model_dump(mode="json", exclude={"source", "note"})},
            priority=PRIORITY,
            protocol=(protocol.name, protocol.hash_of("relax")),
            resources=protocol.resources,
            metadata={**about, "tier": "relax"},
        )
        jobs: list[Any] = [relax]
        if self.confirm is not None:
            relaxed = relax.output["structure"]
            if phase.is_molecule:
                # The triplet of O2 is no arrangement of magnetic ions: its moments go with the structure.
                jobs.append(given := GivenMomentsMaker(moments=[1.0] * len(structure)).make(relaxed))
                identify(
                    given,
                    "given-moments",
                    {"relax": relax.uuid, "moments": [1.0] * len(structure)},
                    priority=PRIORITY,
                    metadata={**about, "tier": "confirm"},
                )
                relaxed = given.output
            calculations, lowest = solution_jobs(
                "reference-static",
                load_dft(self.confirm),
                [site.specie.symbol for site in structure],
                relaxed,
                {"relax": relax.uuid},
                given=phase.is_molecule,
                priority=PRIORITY,
                metadata={**about, "tier": "confirm"},
            )
            jobs += [*calculations, lowest]
        return Flow(jobs, name=f"{self.name} {phase.phase_id}")
