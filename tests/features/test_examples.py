import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["correlation", "haar_templates", "haar", "integral", "lbp"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(f"vj.features.{module}"))
    assert result.attempted
    assert not result.failed
