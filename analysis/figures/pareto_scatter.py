"""One property against another with 90 % intervals, the Pareto front marked.

hemiec rank --json > leaderboard.json
python analysis/figures/pareto_scatter.py leaderboard.json pareto_scatter.pdf --x energy_above_hull
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hemiec.ranking.figures import pareto_scatter
from hemiec.schemas.leaderboard import LeaderboardDoc


def main() -> None:
    """Read the leaderboard, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leaderboard", type=Path, help="what `hemiec rank --json` printed")
    parser.add_argument("figure", type=Path, help="file to write: .pdf, .svg or .png")
    parser.add_argument("--x", default="formation_energy_per_atom", help="property across")
    parser.add_argument("--y", default="migration_barrier", help="property upwards")
    options = parser.parse_args()
    document = LeaderboardDoc.model_validate_json(options.leaderboard.read_text(encoding="utf-8"))
    pareto_scatter(document, options.x, options.y).savefig(options.figure)


if __name__ == "__main__":
    main()
