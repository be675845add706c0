import pytest

from vj import errors
from vj.app.status import Status, status_of


def test_numbers_are_part_of_the_interface():
    assert {s.name: s.value for s in Status} == {
        "DONE": 0,
        "PARTLY": 1,
        "USAGE": 2,
        "INPUT": 3,
        "MODEL": 4,
        "STREAM": 5,
        "OUTPUT": 6,
        "NO_FACE": 10,
        "FACE": 11,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.ParameterError, 2),
        (errors.SourceError, 3),
        (errors.ImageError, 3),
        (errors.CascadeError, 4),
        (errors.NetError, 4),
        (errors.SinkError, 6),
        (errors.VJError, 1),
    ],
)
def test_every_error_has_a_status(kind, status):
    assert status_of(kind("x")) == status
