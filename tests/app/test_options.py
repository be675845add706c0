import pytest

from vj.app.options import parse, parser
from vj.errors import ParameterError


def test_sizes_are_rows_and_columns():
    args = parse(["a.jpg", "--min-size", "40", "--max-size", "640X480"])
    assert args.min_size == (40, 40)
    assert args.max_size == (480, 640)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "nothing to do: name a picture or video, or try --sample -o faces.jpg"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate .see vj-detect --help"),
        (["a", "--min-size", "ten"], "--min-size: a size is W or WxH in pixels, not 'ten'"),
        (["a", "--min-size", "5x"], "not '5x'"),
        (["a", "--min-size", "0"], "not '0'"),
        (["a", "--min-size", "1x2x3"], "not '1x2x3'"),
        (["a", "--min-size", "50", "--max-size", "60x40"], "--min-size is larger than --max-size"),
        (["a", "--scale-factor", "big"], "--scale-factor: invalid float value: 'big'"),
        (["a", "-j", "0"], "-j/--jobs: a whole number of at least 1 is wanted, not '0'"),
        (["a", "-j", "-2"], "-j/--jobs"),
        (["a", "--max-pixels", "1e9"], "not '1e9'"),
        (["a", "--explain", "5"], "--explain: a point is X,Y in pixels, not '5'"),
        (["a", "-o", "b.jpg", "--redact", "smear"], "a picture that is there, not 'smear'"),
        (["a", "-o", "o", "--redact", "blur", "--grow", "nan"], "--grow: a positive number"),
        (["a", "-o", "o", "--redact", "blur", "--grow", "-1"], "--grow: a positive number"),
        (["a", "-o", "-"], "-o - has no format"),
        (["a", "-q", "-v"], "--quiet and --verbose exclude each other"),
        (["a", "-o", "b", "--draw", "--redact", "blur"], "--draw and --redact exclude each other"),
        (["a", "--fail-if-any", "--fail-if-none"], "exclude each other"),
        (["a", "--explain", "1,2", "--json", "-"], "--explain and data exclude each other"),
        (["a", "--draw"], "--draw needs -o"),
        (["a", "--redact", "blur"], "--redact needs -o"),
        (["a", "-o", "b", "--audit", "c"], "--audit needs --redact"),
        (["a", "-o", "b", "--redact", "blur", "--keep-track", "1"], "--keep-track needs --track"),
        (["a", "--from", "b", "--every", "2"], "--from and --every exclude each other"),
        (["a", "--parquet", "-"], "--parquet - is no text: name a file"),
        (["a", "--hold", "0"], "--hold: a whole number of at least 1 is wanted, not '0'"),
        (["a", "--crf", "99"], "--crf: a whole number of 0 to 63 is wanted, not '99'"),
        (["a", "--start", "-1"], "--start"),
        (["a", "--skip-existing"], "--skip-existing needs -o"),
        (["a", "-o", "b", "--grow", "2"], "--grow needs --redact"),
        (["a", "-o", "b", "--ellipse"], "--ellipse needs --redact"),
        (["--sample", "-r"], "--recursive needs a folder"),
        (["a", "--json", "-", "--csv", "-"], "two kinds of data would be written to -"),
        (["a", "--json", "x", "--csv", "./x"], "two kinds of data would be written to ./x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses(argv, says):
    with pytest.raises(ParameterError, match=says):
        parse(argv)


def test_help_names_every_option_and_every_status():
    text = parser().format_help()
    for action in parser()._actions:
        assert not action.option_strings or action.option_strings[-1] in text
        assert action.help
    for status in ("0 done", "1 some", "2 wrong", "3 input", "4 cascade", "5 live", "6 output"):
        assert status in text
    assert max(map(len, text.splitlines())) <= 96


def test_help_needs_nothing_else():
    assert parse(["--help"]).help
    assert parse(["--version"]).version
    assert parse(["--list-detectors"]).list_detectors
