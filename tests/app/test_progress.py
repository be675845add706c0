import io

import pytest

from vj.app.progress import ClosedPipe, Console, Talk
from vj.errors import SinkError


class Refusing(io.RawIOBase):
    def __init__(self, error):
        self.error = error

    def write(self, data):
        raise self.error


def console(**more):
    return Console(io.BytesIO(), more.pop("stdout", io.BytesIO()), io.StringIO(), **more)


@pytest.mark.parametrize(
    ("talk", "heard"),
    [
        (Talk.QUIET, "vj-detect: bad\n"),
        (Talk.NORMAL, "vj-detect: bad\nnews\n"),
        (Talk.VERBOSE, "vj-detect: bad\nnews\ndetails\n"),
    ],
)
def test_talk_goes_to_stderr(talk, heard):
    c = console(talk=talk)
    c.error("bad")
    c.say("news")
    c.detail("details")
    assert c.stderr.getvalue() == heard
    assert c.stdout.getvalue() == b""


def test_bar_on_a_terminal_only():
    for interactive, talk, total, shows in (
        (True, Talk.NORMAL, 5, True),
        (False, Talk.NORMAL, 5, False),
        (True, Talk.QUIET, 5, False),
        (True, Talk.NORMAL, 1, False),
    ):
        c = console(interactive=interactive, talk=talk)
        with c.bar(total, "picture") as advance:
            advance()
            c.write(b"data\n")
        assert ("picture/s" in c.stderr.getvalue()) is shows
        assert c.stdout.getvalue() == b"data\n"


def test_a_full_disk_behind_standard_output():
    full = OSError(28, "No space left on device")
    with pytest.raises(SinkError, match="standard output: cannot write: No space left"):
        console(stdout=Refusing(full)).write(b"x")


def test_a_closed_pipe_is_told_apart():
    with pytest.raises(ClosedPipe, match="standard output is closed"):
        console(stdout=Refusing(BrokenPipeError())).write(b"x")


def test_a_process_without_streams(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
    c = Console.of_process()
    c.error("nobody hears it")
    with pytest.raises(SinkError, match="standard output: cannot write"):
        c.write(b"x")
