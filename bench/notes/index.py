"""Write bench/notes/README.md from the findings in bench/notes/results/*.json.

python -m bench.notes.index
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ORDER = [
    "correlation", "vanishing", "degradation", "lag", "optimisers", "norms", "outliers",
    "small_objects", "gridding", "fcn", "autoencoder", "vae", "gan", "finetune", "face_or_not",
]  # fmt: skip

HEAD = """\
# The lecture notes, run

Written by `python -m bench.notes.index` from `bench/notes/results/*.json`; do not edit. Each
experiment asks whether what the notes claim can be seen, on the face data and with nets of our own;
where it cannot, it says so.

- One file an experiment: `OPENBLAS_NUM_THREADS=1 python -m bench.notes.NAME` runs it anew and
  writes its figure and its line in `results`. `VJ_DATA` names the folder of the data.
- People and source images of the test are not seen in training (`bench/notes/data.py`). Seeds are
  fixed; one thread is used but where an experiment says otherwise; minutes are of CPU time on an
  AMD EPYC, shared with other work.
- Photographs of the data are blank in the figures, as they are not ours to publish:
  `VJ_NOTES_PHOTOGRAPHS=1` shows them in figures that you make yourself. Drawn faces are of nobody.
- These are small nets, trained for minutes. What holds here at this size is shown; what is known
  to need millions of pictures is not contradicted by it.
"""


def title(name: str) -> str:
    """First line of what a module says of itself."""
    text = inspect.getdoc(importlib.import_module(f"bench.notes.{name}")) or name
    return text.splitlines()[0].rstrip(".")


def section(found: dict[str, Any]) -> str:
    """One finding."""
    name = found["name"]
    return "\n".join(
        [
            f"## {title(name)}\n",
            f"**Claim.** {found['claim']}\n",
            f"**Tried.** {found['method']}\n",
            f"**Found.** {found['measured']}\n",
            f"**Holds: {found['holds']}.** [`{name}.py`]({name}.py), "
            f"[numbers](results/{name}.json), {found['minutes']:.1f} minutes.\n",
            f"![{title(name)}](results/{name}.png)\n",
        ]
    )


def write() -> None:
    """The whole index."""
    places = [HERE / f"results/{name}.json" for name in ORDER]
    found = [json.loads(place.read_text(encoding="utf-8")) for place in places if place.exists()]
    rows = ["| what the notes claim | holds | minutes |", "|---|---|---|"]
    for entry in found:
        name = title(entry["name"])
        anchor = "".join(c for c in name.lower() if c.isalnum() or c in " -").replace(" ", "-")
        rows.append(f"| [{name}](#{anchor}) | {entry['holds']} | {entry['minutes']:.1f} |")
    parts = [HEAD, "\n".join(rows) + "\n", *map(section, found)]
    (HERE / "README.md").write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
