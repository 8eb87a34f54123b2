"""Reference phases as jobs: each relaxed once per protocol, shared by all campaigns."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Flow, Maker

from hemiec.engines import mlip
from hemiec.engines.protocol import load_mlip
from hemiec.thermo.references import ReferencePhase
from hemiec.workflows.identity import identify

PRIORITY = 60


@dataclass
class ReferenceMaker(Maker):
    """Relax a reference phase; a molecule keeps its cell.

    Parameters
    ----------
    name
        Flow name; the phase is added.
    protocol
        Name of an MLIP protocol.
    """

    name: str = "reference"
    protocol: str = "mlip-chgnet"

    def make(self, phase: ReferencePhase) -> Flow:
        """Return a flow of one relaxation, named by phase, structure and protocol."""
        protocol = load_mlip(self.protocol)
        maker = mlip.relax_maker(protocol, relax_cell=not phase.is_molecule, name=f"relax {phase.formula}")
        job = maker.make(phase.structure())
        identify(
            job,
            "reference",
            {"phase": phase.model_dump(mode="json", exclude={"source", "note"})},
            priority=PRIORITY,
            protocol=(protocol.name, protocol.hash_of("relax")),
            metadata={"phase_id": phase.phase_id, "label": f"{phase.formula} ({phase.phase})"},
        )
        return Flow([job], name=f"{self.name} {phase.phase_id}")
