"""Fixtures that several parts of the tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the first example of a test may compile a kernel.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def full_disk():
    """No file can grow beyond 50,000 bytes: a write past it fails as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def read_only(tmp_path):
    """A folder in which no file can be made, by root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    return Path("/sys") if os.access(folder, os.W_OK) else folder


@pytest.fixture(scope="session")
def astronaut():
    """(512, 512, 3) uint8, a face at the upper middle."""
    from skimage.data import astronaut

    return astronaut()
