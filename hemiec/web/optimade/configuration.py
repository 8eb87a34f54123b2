"""What the OPTIMADE server says of itself and its fields."""

from __future__ import annotations

from typing import Any

from optimade.models import Implementation, Provider, StructureResource
from optimade.server.config import ServerConfig
from optimade.server.schemas import ENTRY_INFO_SCHEMAS, retrieve_queryable_properties
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from hemiec import __version__
from hemiec.store.building.optimade_fields import provider_fields

PAGE_LIMIT = 100
MAX_PAGE_LIMIT = 1000
DESCRIPTION = (
    "Special quasirandom structures of high-entropy perovskites, relaxed where they have been, and the disordered "
    "compositions they stand for, with band gaps, ion migration barriers and formation energies."
)
#: Standard fields that can be sorted by; the others are lists.
_SORTABLE = {
    *("id", "immutable_id", "last_modified", "nelements", "nsites", "nperiodic_dimensions"),
    *("chemical_formula_descriptive", "chemical_formula_reduced", "chemical_formula_anonymous"),
    *("title", "journal", "volume", "pages", "year", "doi", "bib_type", "name", "link_type"),
}


class OptimadeConfig(ServerConfig):
    """Settings of the library that come from nowhere but their caller."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave out the environment and the file in the user's home."""
        return (init_settings,)


def server_config() -> OptimadeConfig:
    """Return the settings of the library."""
    return OptimadeConfig(
        insert_test_data=False,
        page_limit=PAGE_LIMIT,
        page_limit_max=MAX_PAGE_LIMIT,
        provider=Provider(name="hemiec", prefix="hemiec", description=DESCRIPTION),
        implementation=Implementation(name="hemiec", version=__version__),
        provider_fields={
            "structures": [
                {
                    "name": field.name,
                    "description": field.description,
                    "unit": field.unit,
                    "type": field.type,
                    "sortable": field.type != "list",
                }
                for field in provider_fields()
            ]
        },
    )


def properties(entry_type: str, config: ServerConfig) -> dict[str, dict[str, Any]]:
    """Return the fields of an entry type: description, unit, type and whether it can be sorted by."""
    found: dict[str, dict[str, Any]] = retrieve_queryable_properties(
        ENTRY_INFO_SCHEMAS.get(entry_type, StructureResource),
        {"id", "type", "attributes"},
        entry_type=entry_type,
        config=config,
    )
    for name, about in found.items():
        about["type"] = getattr(about.get("type"), "value", about.get("type"))
        if not name.startswith("_"):
            about["sortable"] = name in _SORTABLE
    return found
