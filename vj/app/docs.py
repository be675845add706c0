"""Write the API pages: ``python -m vj.app.docs -o api`` (needs ``pip install '.[docs]'``)."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Render the docstrings of `vj` and `nets` as HTML pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("api"), help="folder to write to")
    output = parser.parse_args().output
    try:
        import pdoc
    except ImportError:
        parser.error("pdoc is not installed: pip install '.[docs]'")
    for package in map(import_module, ("vj", "nets")):
        for name in package.__all__:  # pdoc takes vj.detect for the folder until it has been loaded
            getattr(package, name)
    pdoc.render.configure(docformat="numpy", show_source=True, search=True)
    pdoc.pdoc("vj", "nets", output_directory=output)
    print(f"{output / 'index.html'}")  # noqa: T201


if __name__ == "__main__":
    main()
