"""Which pictures are kept off training to judge detectors by, besides those of boxes_dev.

Every eighth picture of boxes_wider by sorted name, at whatever size, and every fourth picture of
backgrounds_hard.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

EVERY, EVERY_BACKGROUND = 8, 4


def wild_names(data: Path) -> list[str]:
    """Files of boxes_wider that are never trained on."""
    listed = json.loads((data / "boxes_wider" / "annotations.json").read_text(encoding="utf-8"))
    return sorted(item["file"] for item in listed)[::EVERY]


def free_names(data: Path) -> dict[str, str]:
    """Files of backgrounds_hard that are never trained on, and what they are called elsewhere."""
    place = data / "backgrounds_hard" / "backgrounds_hard.csv"
    with place.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
    return {row["file"]: row["original"] for row in rows[::EVERY_BACKGROUND]}
