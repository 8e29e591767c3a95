"""The demo's stories over seeds: every method on digits (wrong labels, a class removed) and on people.

python benchmarks/stories.py --seeds 3 --output benchmarks/results/stories.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from ofmu.demo.stories import tell
from ofmu.report.terminal import print_story


def main() -> None:
    """Tell all stories and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/stories.json"))
    options = parser.parse_args()
    told = []
    for story in tell(quick=False, seed=0, seeds=options.seeds, note=lambda text: print(text, flush=True)):
        print_story(story)
        told.append(
            {
                "name": story.name,
                "seeds": story.seeds,
                "verdict": story.verdict,
                "rows": [asdict(row) for row in story.rows],
            }
        )
        options.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
