"""Band gap against migration barrier with 90 % intervals, coloured by score.

hemiec rank --json > leaderboard.json
python analysis/figures/gap_barrier_map.py leaderboard.json gap_barrier_map.pdf
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hemiec.ranking.figures import gap_barrier_map
from hemiec.schemas.leaderboard import LeaderboardDoc


def main() -> None:
    """Read the leaderboard, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leaderboard", type=Path, help="what `hemiec rank --json` printed")
    parser.add_argument("figure", type=Path, help="file to write: .pdf, .svg or .png")
    options = parser.parse_args()
    document = LeaderboardDoc.model_validate_json(options.leaderboard.read_text(encoding="utf-8"))
    gap_barrier_map(document).savefig(options.figure)


if __name__ == "__main__":
    main()
