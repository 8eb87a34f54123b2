"""The special quasirandom structures of a plan, ideal and relaxed, as the builder stores them."""

from __future__ import annotations

from datetime import datetime

from pymatgen.core import Structure

from hemiec.schemas.stored import StructureDoc
from hemiec.store.building.assemble import Plan


def structure_docs(plan: Plan, input_hash: str, last_updated: datetime) -> list[StructureDoc]:
    """Return a document for every structure of a plan whose SQS job has finished."""
    documents = []
    for job in plan.jobs:
        step, _, member = str(job["step"]).partition(".")
        sqs = plan.output(job["step"]) if step == "sqs" else None
        if sqs is None:
            continue
        suffix = f".{member}" if member else ""
        number = int(member or 1) - 1
        basin, relax_job = plan.output(f"basin{suffix}"), plan.job(f"basin{suffix}")
        cell = Structure.from_dict(basin["structure"] if basin else sqs["ideal_structure"])
        composition = cell.composition.element_composition
        elements = sorted(element.symbol for element in composition)
        documents.append(
            StructureDoc(
                structure_id=f"{plan.candidate.candidate_id}:{plan.plan_id}:{number}",
                candidate_id=plan.candidate.candidate_id,
                plan_id=plan.plan_id,
                label=plan.candidate.label,
                member=number,
                formula_pretty=composition.reduced_formula,
                formula_anonymous=composition.anonymized_formula,
                chemsys="-".join(elements),
                elements=elements,
                nelements=len(elements),
                nsites=len(cell),
                ideal_structure=sqs["ideal_structure"],
                structure=basin["structure"] if basin else None,
                volume=float(cell.volume) if basin else None,
                density=float(cell.density) if basin else None,
                energy_per_atom=basin["energy_per_atom"] if basin else None,
                max_force=basin["max_force"] if basin else None,
                tilt=basin.get("tilt") if basin else None,
                supercell=sqs["supercell"],
                shortest_image_distance=sqs["shortest_image_distance"],
                net_charge=sqs["net_charge"],
                rounding=sqs["rounding"],
                warren_cowley_rms=sqs["warren_cowley_rms"],
                icet_l1=sqs["icet_l1"],
                seed=sqs["seed"],
                notes=sqs.get("notes", []),
                sqs_job_uuid=job["uuid"],
                relax_job_uuid=relax_job["uuid"] if basin and relax_job else None,
                protocol=relax_job["protocol"] if basin and relax_job else None,
                protocol_hash=relax_job["protocol_hash"] if basin and relax_job else None,
                versions=sqs["versions"] | (basin.get("versions", {}) if basin else {}),
                input_hash=input_hash,
                last_updated=last_updated,
            )
        )
    return documents
