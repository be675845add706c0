"""`python -m bench report`: tables, plots, and the figures of the documentation."""

from pathlib import Path

import pytest

from bench.report import pages, readme

ROOT = Path(__file__).parents[1]


def results(times, **extra):
    """A result file ``a`` or ``b``: ``times`` by (table, case, competitor)."""
    tables = {}
    for (name, case, competitor), seconds in times.items():
        clock = "perf_counter" if name == "Threads" else "thread_time"
        table = tables.setdefault(
            name, {"name": name, "about": "What it is.", "clock": clock, "cases": []}
        )
        row = next((row for row in table["cases"] if row["case"] == case), None)
        if row is None:
            row = {"case": case, "times": {}} | {k: v[case] for k, v in extra.items()}
            table["cases"].append(row)
        row["times"][competitor] = {"min": seconds}
    machine = {"cpu": "a CPU", "system": "Linux", "python": "3.11", "versions": {"numpy": "2"}}
    return {"date": "2026-01-02", "commit": "abc", "machine": machine,
            "tables": list(tables.values())}  # fmt: skip


def page(folder, **files):
    """bench/README.md of these results; its plots lie in the folder."""
    for name, numbers, draw in pages.plots(files):
        draw(numbers, folder)
        assert pages.tables.digest(numbers) in (folder / name).read_text()
    return pages.bench_page(files)


def test_one_table_of_each_name_with_wins_and_losses(tmp_path):
    first = results(
        {
            ("Sums", "small", "peer"): 3e-5,
            ("Sums", "small", "slow peer"): 9.0,
            ("Sums", "small", "vj"): 1e-5,
            ("Sums", "large", "peer"): 0.1,
            ("Sums", "large", "vj"): 0.25,
            ("Sums", "large", "vj, 2 threads"): 0.2,
        },
    )
    second = results({("Threads", "one", "vj"): 1.0})
    text = page(tmp_path, a=first, b=second)
    assert "| small | 10.0 µs |  | 30.0 µs | 9.00 s | **3.00** |" in text
    assert "| large | 250 ms | 200 ms | 100 ms |  | 0.50 |" in text
    assert "| [Sums](#sums) | 0.50 | 1.75 | 3.00 |" in text
    assert "| one | 1.00 s |  |" in text
    assert text.count("Wall time.") == 1
    assert "| a.json | 2026-01-02 | a CPU, Linux | 3.11 | numpy 2 | abc |" in text
    assert not (tmp_path / "plots").exists()


def test_shares_of_the_peak_are_a_column_and_a_picture_of_ratios(tmp_path):
    times = {("Nets", case, lib): 1e-3 for case in ("a", "b") for lib in ("vj", "peer")}
    text = page(tmp_path, a=results(times, share={"a": 0.875, "b": 0.875}))
    assert "| b | 1.00 ms | 1.00 ms | **1.00** | 88% |" in text
    assert b"times as long as ours" in (tmp_path / "plots" / "nets.svg").read_bytes()


def test_numbers_are_plotted_and_the_same_ones_to_the_same_bytes(tmp_path):
    x = {"2x2": 2, "4x4": 4, "8x8": 8}
    times = {("Box sums", case, lib): s * 1e-6 for case, s in x.items() for lib in ("vj", "peer")}
    found = results(times, x=x)
    assert "![Box sums](plots/box-sums.svg)" in page(tmp_path, a=found)
    picture = (tmp_path / "plots" / "box-sums.svg").read_bytes()
    assert b"Box sums" in picture
    page(tmp_path, a=found)
    assert (tmp_path / "plots" / "box-sums.svg").read_bytes() == picture


def test_every_figure_in_the_documentation_is_the_one_in_the_results():
    found = list(pages.differences(pages.load()))
    assert not found, "\n".join([*found, "run `python -m bench report --write`"])


def test_every_part_is_used_and_none_begins_a_line():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "nets/README.md")]
    used = {found[2] or found[3] for text in texts for found in readme.MARKED.finditer(text)}
    assert used == set(readme.PARTS)
    # a comment at the start of a line ends the paragraph before it
    assert not [line for text in texts for line in text.splitlines() if line.startswith("<!--fig")]


def test_a_figure_that_differs_is_named(tmp_path, monkeypatch):
    text = "An AP of <!--fig:ap-->0.9<!--/--> and\n<!-- bench:rows -->\nold\n<!-- /bench -->\nend\n"
    monkeypatch.setattr(readme, "PARTS", {"ap": lambda r: r["ap"], "rows": lambda r: "new\n"})
    new = "An AP of <!--fig:ap-->0.8<!--/--> and\n<!-- bench:rows -->\nnew\n<!-- /bench -->\nend\n"
    assert readme.filled(text, {"ap": "0.8"}) == readme.filled(new, {"ap": "0.8"}) == new
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "pages", lambda _: [(tmp_path / "README.md", new)])
    monkeypatch.setattr(pages, "plots", lambda _: [])
    (found,) = pages.differences({})
    assert found.startswith("README.md:1: has 'An AP of <!--fig:ap-->0.9<!--/--> and', the results")
    monkeypatch.setattr(readme, "PARTS", {})
    with pytest.raises(SystemExit, match="no part 'ap'"):
        readme.filled(text, {})
