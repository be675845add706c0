"""What a training did."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vj.files import replacing
from vj.train.check import Check


@dataclass(frozen=True, slots=True, eq=False)
class TrainingReport:
    """Settings, log and outcome of a training.

    Attributes
    ----------
    settings : mapping
    log : sequence of mapping
        Events ``mined`` and ``stage`` in order.
    reason, advice : str
        Why it ended; what would let it go on.
    seconds : float
    check : Check
    """

    settings: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    reason: str
    advice: str
    seconds: float
    check: Check

    @property
    def stages(self) -> list[Mapping[str, Any]]:
        """One record a stage."""
        return [row for row in self.log if row["event"] == "stage"]

    @property
    def hit_rate(self) -> float:
        """Share of held-out objects that passes all stages, as the product of the stages."""
        rate = 1.0
        for row in self.stages:
            rate *= row["hit_rate"]
        return rate

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything as one JSON object."""
        data = {
            "settings": dict(self.settings),
            "check": str(self.check).splitlines(),
            "log": list(self.log),
            "reason": self.reason,
            "advice": self.advice,
            "seconds": round(self.seconds, 2),
        }
        with replacing(path) as file:
            file.write(json.dumps(data, indent=1).encode())
