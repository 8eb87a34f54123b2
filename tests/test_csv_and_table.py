"""Leaderboards as CSV, JSON and a table for the terminal. All numbers here are synthetic."""

from __future__ import annotations

import csv
import io

import pytest
from ranked_candidates import NOW, candidate, known, missing
from rich.console import Console

from hemiec.ranking.definition import DEFAULT
from hemiec.ranking.export import to_csv, to_json, to_table
from hemiec.ranking.leaderboard import rank
from hemiec.schemas.definition import Criterion, LeaderboardDefinition
from hemiec.schemas.documents import PROPERTIES
from hemiec.schemas.leaderboard import LeaderboardDoc
from hemiec.schemas.quantity import Quantity


@pytest.fixture
def board() -> LeaderboardDoc:
    spread = known("migration_barrier", 0.61, n=5, std=0.1, min=0.31, max=0.82, interval=(0.43, 0.795),
                   uncorrected=0.48, calibration="cal-0123456789ab")  # fmt: skip
    hostile = missing("migration_barrier", '=HYPERLINK("http://example.invalid","x")')
    other = known("band_gap", 0.123456789012345, method="@SUM(1+1), another functional")
    docs = [
        candidate("hm-a", gap=0.4, migration_barrier=spread),
        candidate("hm-b", migration_barrier=hostile),
        candidate("hm-c", band_gap=other),
    ]
    return rank(docs, DEFAULT, created_at=NOW)


def test_json_round_trip(board: LeaderboardDoc) -> None:
    assert LeaderboardDoc.model_validate_json(to_json(board)) == board


def test_csv_round_trip(board: LeaderboardDoc) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert list(rows[0])[:5] == ["rank", "candidate_id", "formula", "band_gap_value", "band_gap_unit"]
    assert [row["candidate_id"] for row in rows] == [entry.candidate_id for entry in board.entries]
    for row, entry in zip(rows, board.entries, strict=True):
        assert row["rank"] == ("" if entry.rank is None else str(entry.rank))
        for name in PROPERTIES:
            found: Quantity = getattr(entry, name)
            for field in ("value", "std", "min", "max"):
                expected = getattr(found, field)
                assert (float(row[f"{name}_{field}"]) if row[f"{name}_{field}"] else None) == expected
            edges = [row[f"{name}_interval_low"], row[f"{name}_interval_high"]]
            assert edges == (["", ""] if found.interval is None else [str(edge) for edge in found.interval])
            assert row[f"{name}_uncorrected"] == ("" if found.uncorrected is None else str(found.uncorrected))
            assert row[f"{name}_calibration"] == (found.calibration or "")
            assert row[f"{name}_unit"] == found.unit
            assert row[f"{name}_n"] == str(found.n)


def test_csv_text_is_never_a_formula(board: LeaderboardDoc) -> None:
    text = to_csv(board)
    for row in csv.DictReader(io.StringIO(text)):
        for column, cell in row.items():
            if not column.endswith(("value", "std", "min", "max", "_low", "_high", "uncorrected")):
                assert not cell.startswith(("=", "+", "-", "@"))
    rows = {row["candidate_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["hm-b"]["migration_barrier_reason"].startswith("'=HYPERLINK")
    assert rows["hm-c"]["band_gap_method"].startswith("'@SUM")
    # Numbers stay numbers.
    assert rows["hm-a"]["formation_energy_per_atom_value"] == "-2.0"


def shown(board: LeaderboardDoc) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(to_table(board))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_table_shows_values_units_methods_and_reasons_in_100_columns(board: LeaderboardDoc) -> None:
    text = shown(board)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for expected in ("Band gap", "eV/atom", "0.31–0.82 (5)", "0.61*", "[0.43, 0.80]", "* Corrected towards DFT",
                     "[90 % interval]", "-2.000", "Migration barrier: synthetic migration_barrier",
                     "Band gap a: @SUM(1+1), another functional", "Band gap b: synthetic band_gap",
                     "— Migration barrier of (La,Sr)CoO3-hm-b: =HYPERLINK"):  # fmt: skip
        assert expected in text
    assert "0.12 a" in text
    assert "…" not in text


def test_table_names_what_it_has_no_room_for() -> None:
    wide = {name: known(name, -0.123, n=4, min=-0.21, max=-0.1, interval=(-0.2, -0.05)) for name in PROPERTIES}
    by_interface = LeaderboardDefinition(
        name="interface", title="Interface",
        criteria=[Criterion(property="interface_reaction_energy", direction="maximise", best=0, worst=-0.5)],
    )  # fmt: skip
    text = shown(rank([candidate("a").model_copy(update=wide)], by_interface))
    head = text.splitlines()[:8]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    # What counts is there, whatever else finds no room.
    assert any("Interface" in line for line in head)
    assert "For want of room not here" in text
    left_out = text[text.index("For want of room") :].replace("\n", " ")
    assert "energy above the hull" in left_out
    assert not any("Above" in line for line in head)
    narrow = shown(rank([candidate("a")], DEFAULT))
    assert "For want of room" not in narrow
    assert "Above hull" in narrow


def test_table_prints_stored_text_as_it_is() -> None:
    doc = candidate("a")
    spec = doc.candidate.model_copy(update={"label": "[red]A[/red]\x1b[31mB"})
    text = shown(rank([doc.model_copy(update={"candidate": spec})], DEFAULT))
    assert "[red]A[/red]" in text
    assert "\x1b" not in text
