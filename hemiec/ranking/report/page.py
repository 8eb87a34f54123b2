"""A leaderboard as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hemiec.ranking.columns import BY_PROPERTY, COLUMNS, Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.cells import (
    CORRECTED,
    MISSING,
    Methods,
    counted,
    missing_reasons,
    percent,
    rank_interval,
    tells_top,
)
from hemiec.ranking.report.background import Background
from hemiec.ranking.report.cards import Card, gap_panel
from hemiec.ranking.report.hop_profiles import profile
from hemiec.ranking.report.property_panels import property_panels
from hemiec.ranking.report.ranking_panels import all_doubts, doubts_by_code, rule, standings, weights
from hemiec.ranking.report.structure_panels import VIEWER, viewer_script
from hemiec.ranking.report.text import chemical, interval, number, spread
from hemiec.ranking.report.thermo_panels import (
    PARTS,
    curve_name,
    pressures,
    products,
    thermo_facts,
    thermo_panels,
    window_text,
    worst_products,
)
from hemiec.ranking.report.transport_panels import MOST_RANKS, band, hops_for, order_panel, scientific, transport_panels
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry

TEMPLATE = "page.html.jinja"
#: Candidates that get a card; more would make a file that browsers are slow with.
MOST_CARDS = 200
#: Candidates in the ranking of the report, and in its charts.
MOST_ROWS = 1_000
#: Functions and words of the template.
WORDS = {
    "quantity": quantity, "number": number, "spread": spread, "interval": interval, "band": band, "rule": rule,
    "percent": percent, "rank_interval": rank_interval, "most_ranks": MOST_RANKS, "most_cards": MOST_CARDS,
    "hops_for": hops_for, "scientific": scientific, "thermo_facts": thermo_facts, "thermo_parts": PARTS,
    "window_text": window_text, "products": products, "curve_name": curve_name, "worst_products": worst_products,
    "pressures": pressures, "MISSING": MISSING, "CORRECTED": CORRECTED,
}  # fmt: skip
logger = logging.getLogger(__name__)


def to_html(doc: LeaderboardDoc, background: Mapping[str, Background] | None = None) -> str:
    """Return the leaderboard as one self-contained HTML file of about 6 MB.

    It holds the sortable ranking with intervals and probabilities, how far weights can move, what is doubtful, the
    ranked properties against each other, the order by effective barrier beside that by single hops, and a card per
    candidate: composition, structure, quality of the special quasirandom structure, thermodynamics, conducting
    network, barriers, Arrhenius curve, energy profiles, gap by magnetic state and provenance. plotly.js and 3Dmol are
    inlined, and a content security policy forbids the page to ask any host for anything.

    Parameters
    ----------
    doc
        The leaderboard; its first 1,000 entries are listed and its first 200 get a card, and the report says so.
    background
        candidate_id to what the store knows beyond the entry: sites, structures, jobs
        (:func:`hemiec.store.backgrounds.read_backgrounds`). A card without it says what it lacks.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hemiec.ranking.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["chemical"] = chemical
    template = environment.get_template(TEMPLATE)
    cards = [Card.of(entry, (background or {}).get(entry.candidate_id)) for entry in doc.entries[:MOST_CARDS]]
    listed = doc.model_copy(update={"entries": doc.entries[:MOST_ROWS]})
    parts = (_of_whole(doc), _of_ranking(listed, background or {}), _of_cards(listed, cards), _libraries(cards), WORDS)
    return template.render({name: found for part in parts for name, found in part.items()})


def _of_whole(doc: LeaderboardDoc) -> dict[str, Any]:
    """Return what the template needs of the leaderboard with all its entries, listed or not."""
    return {
        "n_all": len(doc.entries),
        "n_ranked": sum(entry.rank is not None for entry in doc.entries),
        "top_says": tells_top(doc),
        "weights": weights(doc),
    }


def _of_ranking(doc: LeaderboardDoc, background: Mapping[str, Background]) -> dict[str, Any]:
    """Return what the template needs above the cards."""
    found = all_doubts(doc, background)
    return {
        "doc": doc,
        "columns": COLUMNS,
        "counting": counted(doc),
        "by_property": BY_PROPERTY,
        "drawn": any(entry.uncertainty is not None for entry in doc.entries),
        "standings": standings(doc.entries),
        "doubts": found,
        "doubts_by_code": doubts_by_code(found),
        "methods": {column.property: Methods.of(doc.entries, column.property) for column in COLUMNS},
        "n_protocols": {column.property: _n_protocols(doc.entries, column) for column in COLUMNS},
        "reasons": {column.property: missing_reasons(doc.entries, column.property) for column in COLUMNS},
        "any_corrected": any(quantity(entry, c.property).calibration for entry in doc.entries for c in COLUMNS),
        "any_interval": any(quantity(entry, c.property).interval for entry in doc.entries for c in COLUMNS),
    }


def _of_cards(doc: LeaderboardDoc, cards: Sequence[Card]) -> dict[str, Any]:
    """Return what the template needs of the candidates one by one, and all that is drawn."""
    entries = [card.entry for card in cards]
    return {
        "cards": cards,
        "charts": {
            "panels": property_panels(doc),
            "profiles": [profile(entry.hops) for entry in entries],
            "order": order_panel(entries),
            "transport": [transport_panels(entry.transport, entry.dynamics) for entry in entries],
            "thermo": [thermo_panels(entry.thermodynamics) for entry in entries],
            "gaps": [gap_panel(entry.gap_starts) for entry in entries],
            "structures": [card.structure for card in cards],
        },
    }


def _libraries(cards: Sequence[Card]) -> dict[str, Any]:
    """Return the libraries, which go in as they are; without a structure to draw 3Dmol stays out."""
    from plotly.offline import get_plotlyjs

    wanted = any(card.structure is not None for card in cards)
    viewer = viewer_script() if wanted else None
    if wanted and viewer is None:
        logger.warning("The report has no 3D structures: %s is missing from this installation of hemiec.", VIEWER)
    return {
        "plotly_js": Markup(get_plotlyjs()),
        "viewer_js": None if viewer is None else Markup(viewer),
        "viewer_missing": VIEWER if wanted and viewer is None else None,
    }


def _n_protocols(entries: Sequence[LeaderboardEntry], column: Column) -> int:
    used = [quantity(entry, column.property) for entry in entries]
    return len({found.protocol_hash for found in used if found.value is not None and found.protocol_hash})
