"""The .vec format, byte by byte, and what users' files get wrong."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vj.errors import ParameterError, SourceError
from vj.train.vec import read_vec, write_vec


@given(arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 6))))
def test_what_is_written_is_read(tmp_path_factory, patches):
    path = tmp_path_factory.mktemp("vec") / "a.vec"
    write_vec(path, patches)
    np.testing.assert_array_equal(read_vec(path, patches.shape[1:]), patches)


def test_layout_is_that_of_opencv_createsamples(tmp_path):
    pixels = list(range(6))
    raw = struct.pack("<iihh", 1, 6, 0, 0) + b"\x00" + struct.pack("<6h", *pixels)
    write_vec(tmp_path / "a.vec", np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    assert (tmp_path / "a.vec").read_bytes() == raw
    assert read_vec(tmp_path / "a.vec", (3, 2)).shape == (1, 3, 2)


def test_a_header_that_promises_too_much_is_a_warning(tmp_path):
    path = tmp_path / "a.vec"
    write_vec(path, np.zeros((3, 4, 4), np.uint8))
    raw = bytearray(path.read_bytes())
    raw[0] = 200
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="promises 200 samples, the file holds 3"):
        assert read_vec(path).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("raw", "window", "says"),
    [
        (b"abc", None, "3 bytes are too few"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), None, "no .vec file"),
        (struct.pack("<iihh", 1, 600, 0, 0), (24, 24), "samples have 600 pixels, not 24x24"),
        (
            struct.pack("<iihh", 1, 1, 0, 0) + b"\0" + struct.pack("<h", 999),
            None,
            "outside 0 to 255",
        ),
    ],
)
def test_refuses_what_is_no_vec_file(tmp_path, raw, window, says):
    path = tmp_path / "bad.vec"
    path.write_bytes(raw)
    with pytest.raises(SourceError, match=says):
        read_vec(path, window)


def test_refuses_other_arrays_and_missing_files(tmp_path):
    with pytest.raises(ParameterError, match="`patches` must be uint8"):
        write_vec(tmp_path / "a.vec", np.zeros((2, 3, 3)))
    with pytest.raises(SourceError, match="cannot read"):
        read_vec(tmp_path / "none.vec")
