"""How likely each candidate is in the top and on the Pareto front.

hemiec rank --json > leaderboard.json
python analysis/figures/probabilities.py leaderboard.json probabilities.pdf
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hemiec.ranking.figures import MOST_ROWS, probability_bars
from hemiec.schemas.leaderboard import LeaderboardDoc


def main() -> None:
    """Read the leaderboard, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leaderboard", type=Path, help="what `hemiec rank --json` printed")
    parser.add_argument("figure", type=Path, help="file to write: .pdf, .svg or .png")
    parser.add_argument("--most", type=int, default=MOST_ROWS, help="rows at most")
    options = parser.parse_args()
    document = LeaderboardDoc.model_validate_json(options.leaderboard.read_text(encoding="utf-8"))
    probability_bars(document, most=options.most).savefig(options.figure)


if __name__ == "__main__":
    main()
