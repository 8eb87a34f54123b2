"""A leaderboard for other programs and other people: CSV, JSON, Parquet, LaTeX, PNG and a table for the terminal."""

from hemiec.ranking.export.latex import to_latex
from hemiec.ranking.export.parquet import to_parquet
from hemiec.ranking.export.picture import to_png
from hemiec.ranking.export.plain import to_csv, to_json
from hemiec.ranking.export.terminal import to_table

__all__ = ["to_csv", "to_json", "to_latex", "to_parquet", "to_png", "to_table"]
