"""Inputs of a .tflite whose integers litert-torch narrowed: they follow, and nothing is cut."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy
import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    """The script without LiteRT, which this project does not install."""
    runtime = ModuleType("ai_edge_litert.interpreter")
    runtime.Interpreter = None
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", runtime)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("run_litert_tested", SCRIPTS / "run_litert.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whole_numbers_get_the_width_that_the_model_takes(script):
    tokens = numpy.array([[1, 2**31 - 1]], numpy.int64)
    narrow = script.as_wanted(tokens, numpy.int32, "input_0.npy")
    assert narrow.dtype == numpy.int32 and numpy.array_equal(narrow, tokens)


def test_a_value_that_does_not_fit_is_told_and_not_cut(script):
    with pytest.raises(SystemExit, match=r"input_0\.npy has values that are no int32, which the model takes"):
        script.as_wanted(numpy.array([2**31], numpy.int64), numpy.int32, "input_0.npy")


@pytest.mark.parametrize(("given", "wanted"), [("float64", "float32"), ("int64", "float32"), ("bool", "int32")])
def test_all_else_stays_and_the_runtime_says_what_it_thinks_of_it(script, given, wanted):
    array = numpy.ones(3, given)
    assert script.as_wanted(array, numpy.dtype(wanted).type, "input_0.npy") is array
