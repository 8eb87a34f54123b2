"""One structure as a file of another program."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hemiec.web.answers import send_file, send_json
from hemiec.web.description import NOT_FOUND
from hemiec.web.parameters import StructureId, StructureQuery
from hemiec.web.problems import Problem
from hemiec.web.reading import Read

router = APIRouter(tags=["structures"])

_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A pymatgen Structure as JSON, a CIF or a POSCAR.",
        "content": {
            "application/json": {"schema": {"type": "object", "description": "For pymatgen's Structure.from_dict."}},
            "chemical/x-cif": {"schema": {"type": "string"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }
}
_MEDIA = {"cif": "chemical/x-cif", "poscar": "text/plain"}


@router.get(
    "/structures/{structure_id}", responses={**_FILES, **NOT_FOUND}, response_class=Response, summary="Coordinates"
)
def show_structure(
    request: Request, read: Read, structure_id: StructureId, query: Annotated[StructureQuery, Query()]
) -> Response:
    """One special quasirandom structure, relaxed or ideal, as pymatgen's JSON, CIF or POSCAR."""
    field = "structure" if query.kind == "relaxed" else "ideal_structure"
    about = ("structure_id", "label", "plan_id", "protocol", "relax_job_uuid", "sqs_job_uuid")
    with read() as database:
        wanted = {"_id": 0, field: 1, **dict.fromkeys(about, 1)}
        found = database["structures"].find_one({"structure_id": structure_id}, wanted)
    if found is None:
        raise Problem(404, f"no structure {structure_id!r}.", mend="see /candidates/{candidate_id}/structures")
    if found[field] is None:
        raise Problem(404, f"structure {structure_id!r} is not relaxed yet.", mend="ask for kind=ideal")
    if query.format == "json":
        return send_json(request, found[field])
    name = f"{structure_id}-{query.kind}.{'cif' if query.format == 'cif' else 'POSCAR'}"
    text = _text(found, found[field], query)
    return send_file(request, text, name=name, media_type=_MEDIA[query.format])


def _text(found: dict[str, Any], content: dict[str, Any], query: StructureQuery) -> str:
    """Return a structure in a format, with a first line that says what it is."""
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter
    from pymatgen.io.vasp import Poscar

    job = found["relax_job_uuid"] if query.kind == "relaxed" else found["sqs_job_uuid"]
    by = f" {found['protocol']}" if query.kind == "relaxed" else ""
    comment = f"{found['label']} {found['structure_id']} {query.kind}{by} job {job}"
    structure = Structure.from_dict(content)
    if query.format == "cif":
        # CIF wants a label of its own for each site; ours name sublattices.
        for site in structure:
            site.label = site.species_string
        structure.relabel_sites()
        return f"# {comment}\n{CifWriter(structure, significant_figures=10)}"
    ordered = structure.get_sorted_structure()
    return str(Poscar(ordered, comment=comment).get_str(significant_figures=12))
