"""Leaderboards as Parquet, LaTeX and PNG, and what draws say in CSV and the terminal. All numbers are synthetic."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from latex_checker import check
from report_examples import DANGEROUS, known, missing, six_candidates, with_draws
from rich.console import Console

from hemiec.errors import InputError
from hemiec.ranking.columns import COLUMNS
from hemiec.ranking.export import to_csv, to_latex, to_parquet, to_png, to_table
from hemiec.ranking.export.cells import Methods, missing_reasons, percent, rank_interval, weight_sentence
from hemiec.ranking.export.latex import ROWS_ON_A_PAGE, chemical, escape
from hemiec.schemas.leaderboard import Doubt, LeaderboardDoc, LeaderboardHeader
from hemiec.store.queries.fields import fields_of
from hemiec.store.queries.files import csv_parts

PDFLATEX = shutil.which("pdflatex")
#: Everything that TeX has a use for, and letters that it knows nothing of.
NASTY = "\\input{/etc/passwd} {}$&#%_^~<>|\"'`[] --- ?` !` Åδ→é中😀 \\end{document} ^^M %x\n\nnew\x00\x07 −–—¿ß"


@pytest.fixture
def doc() -> LeaderboardDoc:
    return with_draws(six_candidates())


def hostile(doc: LeaderboardDoc) -> LeaderboardDoc:
    """Return the leaderboard with a hostile text wherever it has any."""
    bad = {
        "label": NASTY, "formula": NASTY, "candidate_id": NASTY, "oxide_reaction": NASTY, "mobile": NASTY,
        "band_gap": known(0.5, "eV", NASTY, calibration=NASTY, protocol=NASTY),
        "doubts": [Doubt(code=NASTY, property=NASTY, text=NASTY)], "missing": [NASTY],
    }  # fmt: skip
    reason = doc.entries[-1].migration_barrier.model_copy(update={"reason": NASTY})
    entries = [doc.entries[0].model_copy(update=bad), *doc.entries[1:-1]]
    entries.append(doc.entries[-1].model_copy(update={"migration_barrier": reason, "label": NASTY}))
    words = dict.fromkeys(("title", "name", "description", "leaderboard_id", "where"), NASTY)
    return doc.model_copy(update={"entries": entries, **words})


def test_parquet_has_units_and_reads_back(doc: LeaderboardDoc) -> None:
    table = pq.read_table(io.BytesIO(to_parquet(doc)))
    assert table.num_rows == len(doc.entries)
    rows = table.to_pylist()
    for row, entry in zip(rows, doc.entries, strict=True):
        assert (row["rank"], row["candidate_id"], row["score"]) == (entry.rank, entry.candidate_id, entry.score)
        for column in COLUMNS:
            found = getattr(entry, column.property)
            assert row[column.property] == found.value
            assert row[f"{column.property}_reason"] == found.reason
            assert row[f"{column.property}_max"] == found.max
        assert row["missing"] == entry.missing
        assert row["doubts"] == [doubt.model_dump() for doubt in entry.doubts]
    assert rows[1]["rank_low"] == 1
    assert rows[1]["rank_high"] == 3
    assert rows[-1]["expected_rank"] is None
    for field in table.schema:
        about = field.metadata
        assert about[b"description"], field.name
        is_number = str(field.type) in ("double", "int64")
        assert bool(about[b"unit"]) == is_number, field.name
    assert table.schema.field("energy_above_hull_low").metadata[b"unit"] == b"eV/atom"
    header = LeaderboardHeader.model_validate(json.loads(table.schema.metadata[b"hemiec.leaderboard"]))
    assert header == LeaderboardHeader.model_validate(doc.model_dump(exclude={"entries"}))


def test_parquet_refuses_mixed_units(doc: LeaderboardDoc) -> None:
    entries = [doc.entries[0].model_copy(update={"band_gap": known(500, "meV")}), *doc.entries[1:]]
    with pytest.raises(InputError, match="band_gap: expected one unit for all candidates, got eV, meV"):
        to_parquet(doc.model_copy(update={"entries": entries}))
    assert pq.read_table(io.BytesIO(to_parquet(doc.model_copy(update={"entries": []})))).num_rows == 0


def test_latex_tells_ranks_values_and_methods(doc: LeaderboardDoc) -> None:
    corrected = known(-0.004, "eV", "corrected", interval=(-0.25, 0.1), calibration="cal-1")
    entries = [doc.entries[0].model_copy(update={"band_gap": corrected}), *doc.entries[1:]]
    text = to_latex(doc.model_copy(update={"entries": entries}))
    check(text)
    row = next(line for line in text.split("\n") if line.startswith("1 "))
    assert row.startswith(
        r"1 [1--2] & (La,Y,Sr,Ba,Ca)CoO$_{3}$ & 0.00$^{\mathrm{*a}}$ [$-$0.25, 0.10] & 0.60 & $-$2.400 &"
    )
    assert row.endswith(r"& 0.900 & 100 \% & 80 \% \\")
    assert r"<1 \%" not in text
    assert r"\textless{}1 \%" in text
    for expected in (
        r"\label{tab:mixed-conductor}", "In brackets: 90", "Corrected towards DFT", "share of 1000 draws",
        r"Migration barrier of Ba$_{0.5}$Sr$_{0.5}$CoO$_{3}$ missing: 3 of 5 hops failed.",
        "a: corrected; b: GPAW, PBE+U",
    ):  # fmt: skip
        assert expected in text, expected
    assert "P" not in to_latex(six_candidates()).split("\\toprule")[1].split("\\midrule")[0].replace("Pareto", "")


def test_latex_survives_hostile_text(doc: LeaderboardDoc) -> None:
    bad = hostile(doc)
    for several in (bad, bad.model_copy(update={"entries": bad.entries * ROWS_ON_A_PAGE})):
        text = to_latex(several)
        check(text)
        assert "[U+4E2D]" in text
        assert "longtable" in text or several is bad
    assert escape("a--b---c") == "a-{}-b-{}-{}-c"
    assert escape("é ß 中") == "e [U+00DF] [U+4E2D]"
    assert chemical("Li0.5La0.5TiO3-2_x") == r"Li$_{0.5}$La$_{0.5}$TiO$_{3}$-2\_x"


@pytest.mark.parametrize(
    "wrong",
    [
        "\\begin{tabular}{rl}\n1 & \\input{x} \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & a_b \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & { \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & 2 & 3 \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & $x \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & 50% \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & \N{GREEK SMALL LETTER DELTA} \\\\\n\\end{tabular}",
        "\\begin{tabular}{rl}\n1 & 2 \\\\\n\\end{table}",
        "\\begin{tabular}{rl}\n[1] & 2 \\\\\n\\end{tabular}",
    ],
)
def test_checker_of_latex_finds_faults(wrong: str) -> None:
    check("\\begin{tabular}{rl}\n1 & 2$_{3}$ \\\\\n\\end{tabular}")
    with pytest.raises(AssertionError):
        check(wrong)


@pytest.mark.skipif(PDFLATEX is None, reason="needs a LaTeX; the checker above reads the same text without one")
def test_latex_compiles(doc: LeaderboardDoc, tmp_path: Path) -> None:
    assert PDFLATEX is not None
    bad = hostile(doc)
    tables = [doc, bad, bad.model_copy(update={"entries": bad.entries * ROWS_ON_A_PAGE, "name": "long"})]
    body = "\n".join(to_latex(table) for table in tables)
    (tmp_path / "t.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs,longtable}}\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_png_is_a_picture(doc: LeaderboardDoc) -> None:
    picture = to_png(hostile(doc))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(picture[k : k + 4], "big") for k in (16, 20))
    assert width > 600
    assert height > 150
    unranked = [entry.model_copy(update={"rank": None}) for entry in doc.entries]
    with pytest.raises(InputError, match="nothing to draw"):
        to_png(doc.model_copy(update={"entries": unranked}))


def test_csv_tells_what_draws_say(doc: LeaderboardDoc) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(doc))))
    assert (rows[1]["expected_rank"], rows[1]["rank_low"], rows[1]["rank_high"]) == ("2.25", "1.0", "3.0")
    assert rows[1]["probability_top"] == "0.5"
    assert rows[-1]["expected_rank"] == ""
    assert rows[0]["doubts"] == "one-magnetic-start"
    for row in csv.DictReader(io.StringIO(to_csv(hostile(doc)))):
        assert not any(cell.startswith(("=", "+", "@", "\t", "\n", "\r")) for cell in row.values())


def test_csv_keeps_a_row_together_whatever_ends_the_lines_of_a_text(doc: LeaderboardDoc) -> None:
    reason = missing("eV", "step 1\rstep 2\r\nstopped")
    entries = [doc.entries[0].model_copy(update={"migration_barrier": reason}), *doc.entries[1:]]
    text = to_csv(doc.model_copy(update={"entries": entries}))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(doc.entries)
    assert rows[0]["migration_barrier_reason"] == "step 1\nstep 2\nstopped"
    assert rows[0]["score"] == str(doc.entries[0].score)
    found = "".join(csv_parts({"formula": fields_of()["formula"]}, [[["a\rb"]], [["\n=1"]]]))
    assert list(csv.reader(io.StringIO(found, newline=""))) == [["formula"], ["a\nb"], ["'\n=1"]]


def shown(doc: LeaderboardDoc) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(to_table(doc))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_terminal_tells_what_draws_say(doc: LeaderboardDoc) -> None:
    text = shown(doc)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for expected in ("Top", "1–2", "100 %", "50 %", "its 90 % interval over 1000 draws", "whatever the migration"):
        assert expected in text, expected
    assert re.search(r"below 0\.4\s+\(La,Pr,Nd,Sr,Ba\)CoO3\s+wins", text)
    assert "draws" not in shown(six_candidates())
    # Where all are in the top, its probability says nothing.
    everyone = doc.model_copy(update={"top": 5})
    assert "Top" not in shown(everyone)
    assert "$P$(top" not in to_latex(everyone)
    check(to_latex(everyone))
    lines = shown(hostile(doc).model_copy(update={"title": DANGEROUS + "\x1b[31m"}))
    assert "\x1b" not in lines
    assert "\x07" not in lines


def test_probabilities_never_round_to_certainty() -> None:
    shares = {0.0: "0 %", 0.004: "<1 %", 0.005: "0 %", 0.5: "50 %", 0.995: ">99 %", 1.0: "100 %"}
    assert {share: percent(share) for share in shares} == shares | {0.005: percent(0.005)}
    assert percent(0.0051) == "1 %"
    assert percent(0.9949) == "99 %"


def test_words_of_ranks_and_weights(doc: LeaderboardDoc) -> None:
    first = doc.entries[0]
    assert rank_interval(first) == "1–2"
    assert first.uncertainty is not None
    sure = first.model_copy(update={"uncertainty": first.uncertainty.model_copy(update={"rank_interval": (3, 3)})})
    assert rank_interval(sure) == "3"
    assert rank_interval(doc.entries[-1]) == ""
    labels = {entry.candidate_id: entry.label for entry in doc.entries}
    assert (
        weight_sentence(doc.sensitivity[1], labels)
        == "The winner stays first whatever the migration barrier weighs, if it counts at all."
    )
    assert weight_sentence(doc.sensitivity[0], {}).startswith("The band gap weighs 1; below 0.4 hm-000000000002 wins")


def test_reasons_that_differ_in_the_job_are_one(doc: LeaderboardDoc) -> None:
    jobs = ("ff110a10-7196-5f46-9084-05b275580c2a", "a0b1c2d3-7196-5f46-9084-05b275580c2a")
    lost = [missing("eV", f"job {job} (gap) has not finished") for job in jobs]
    entries = [e.model_copy(update={"band_gap": q}) for e, q in zip(doc.entries, lost, strict=False)]
    assert missing_reasons(entries, "band_gap") == {"job … (gap) has not finished": entries}
    assert missing_reasons(entries[:1], "band_gap") == {lost[0].reason: entries[:1]}


def test_methods_that_differ_in_amounts_are_one(doc: LeaderboardDoc) -> None:
    texts = ("15 of 60 hops computed at 1000 K", "16 of 64 hops computed at 1000 K", "15 of 60 hops computed at 800 K")
    entries = [
        entry.model_copy(update={"migration_barrier": known(0.5, "eV", method)})
        for entry, method in zip(doc.entries, texts, strict=False)
    ]
    methods = Methods.of(entries, "migration_barrier")
    assert methods.named() == [
        ("a", "15 to 16 of 60 to 64 hops computed at 1000 K"), ("b", "15 of 60 hops computed at 800 K"),
    ]  # fmt: skip
    assert [methods.mark(text) for text in texts] == ["a", "a", "b"]
    assert Methods.of(entries[:2], "migration_barrier").mark(texts[0]) == ""


@pytest.mark.parametrize(("one", "other"), [("5 of 60 hops", " of  hops"), (f"{'9' * 5000} of 3 hops", "4 of 3 hops")])
def test_methods_that_look_like_amounts_are_told_apart(one: str, other: str, doc: LeaderboardDoc) -> None:
    entries = [
        entry.model_copy(update={"band_gap": known(0.5, "eV", text)})
        for entry, text in zip(doc.entries, (one, other), strict=False)
    ]
    methods = Methods.of(entries, "band_gap")
    assert methods.named() == [("a", one), ("b", other)]
    assert methods.mark(other) == "b"
