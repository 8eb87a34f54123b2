"""The literature behind OPTIMADE entries, in the terms of its references endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

#: When the list below was last changed.
LAST_MODIFIED = datetime(2026, 11, 22, tzinfo=UTC)
#: Kind of an entry to the references that its structure and descriptors rest on.
BEHIND = {
    "sqs": ("zunger1990", "cowley1950", "angqvist2019"),
    "disordered": ("goldschmidt1926", "shannon1976", "bartel2019"),
}
_ARTICLES: dict[str, dict[str, Any]] = {
    "zunger1990": {
        "title": "Special quasirandom structures",
        "authors": ["Alex Zunger", "S.-H. Wei", "L. G. Ferreira", "James E. Bernard"],
        "journal": "Physical Review Letters",
        "volume": "65",
        "pages": "353-356",
        "year": "1990",
        "doi": "10.1103/PhysRevLett.65.353",
    },
    "cowley1950": {
        "title": "An Approximate Theory of Order in Alloys",
        "authors": ["J. M. Cowley"],
        "journal": "Physical Review",
        "volume": "77",
        "pages": "669-675",
        "year": "1950",
        "doi": "10.1103/PhysRev.77.669",
    },
    "angqvist2019": {
        "title": "ICET - A Python Library for Constructing and Sampling Alloy Cluster Expansions",
        "authors": [
            *("Mattias Ångqvist", "William A. Muñoz", "J. Magnus Rahm", "Erik Fransson", "Céline Durniak"),
            *("Piotr Rozyczko", "Thomas H. Rod", "Paul Erhart"),
        ],
        "journal": "Advanced Theory and Simulations",
        "volume": "2",
        "pages": "1900015",
        "year": "2019",
        "doi": "10.1002/adts.201900015",
    },
    "goldschmidt1926": {
        "title": "Die Gesetze der Krystallochemie",
        "authors": ["V. M. Goldschmidt"],
        "journal": "Die Naturwissenschaften",
        "volume": "14",
        "pages": "477-485",
        "year": "1926",
        "doi": "10.1007/BF01507527",
    },
    "shannon1976": {
        "title": "Revised effective ionic radii and systematic studies of interatomic distances in halides and "
        "chalcogenides",
        "authors": ["R. D. Shannon"],
        "journal": "Acta Crystallographica Section A",
        "volume": "32",
        "pages": "751-767",
        "year": "1976",
        "doi": "10.1107/S0567739476001551",
    },
    "bartel2019": {
        "title": "New tolerance factor to predict the stability of perovskite oxides and halides",
        "authors": [
            *("Christopher J. Bartel", "Christopher Sutton", "Bryan R. Goldsmith", "Runhai Ouyang"),
            *("Charles B. Musgrave", "Luca M. Ghiringhelli", "Matthias Scheffler"),
        ],
        "journal": "Science Advances",
        "volume": "5",
        "pages": "eaav0693",
        "year": "2019",
        "doi": "10.1126/sciadv.aav0693",
    },
}


def articles() -> list[dict[str, Any]]:
    """Return the entries of the references endpoint, flat."""
    return [
        {
            **article,
            "id": key,
            "type": "references",
            "bib_type": "article",
            "authors": [{"name": name} for name in article["authors"]],
            "last_modified": LAST_MODIFIED,
        }
        for key, article in _ARTICLES.items()
    ]


def relationships(kind: str) -> dict[str, Any]:
    """Return the relationships of an entry of a kind, sqs or disordered, to the literature behind it."""
    return {"references": {"data": [{"type": "references", "id": key} for key in BEHIND[kind]]}}
