"""Print the rows of benchmarks/accuracy/results as a Markdown table.

python benchmarks/accuracy/table.py benchmarks/accuracy/results/acdc_small.jsonl
"""

from __future__ import annotations

import json
import sys

FINAL = "checkpoint_final.pth"


def main() -> None:
    """Print one line per row, raw and with largest components kept.

    Rows of another checkpoint than the final one name it after the settings.
    """
    columns = (
        "trainer|settings|seed|iterations|Dice|HD95 mm|missed or invented|islands|"
        "Dice, largest|HD95, largest"
    )
    print(f"|{columns}|")
    print("|---" * (columns.count("|") + 1) + "|")
    for path in sys.argv[1:]:
        for line in open(path):
            row = json.loads(line)
            checkpoint = row.get("checkpoint", FINAL)
            settings = [*row.get("settings", []), *([checkpoint] if checkpoint != FINAL else [])]
            raw, kept = (row[k]["summary"]["overall"] for k in ("raw", "largest_component"))
            cells = (
                row["trainer"],
                " ".join(settings),
                row["seed"],
                row["epochs"] * row["iterations_per_epoch"],
                f"{raw['dice']:.3f}",
                f"{raw['hd95_mm']:.1f}",
                raw["missed"] + raw["invented"],
                f"{raw['islands_per_case']:.1f}",
                f"{kept['dice']:.3f}",
                f"{kept['hd95_mm']:.1f}",
            )
            print("|" + "|".join(map(str, cells)) + "|")


if __name__ == "__main__":
    main()
