"""The sentences of error messages, and the tree that the command line relies on."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pickle

import pytest

from sertbench import errors
from sertbench.errors import SertbenchError, few, unknown

KINDS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, SertbenchError)]


@pytest.mark.parametrize("module", ["sertbench.errors", "sertbench.spelling", "sertbench.pace", "sertbench.run_log"])
def test_the_examples_of_the_docstrings_are_true(module):
    outcome = doctest.testmod(importlib.import_module(module))

    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_kind_and_words_on_the_way_from_a_worker(kind):
    received = pickle.loads(pickle.dumps(kind("what went wrong")))

    assert type(received) is kind
    assert str(received) == "what went wrong"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_stands_in_the_tree_that_is_drawn_at_the_top(kind):
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_name_far_from_all_known_ones_gets_no_suggestion():
    assert unknown("model", "zzz", ["cnn", "glam"]) == "no model is called 'zzz'. Known: cnn, glam"


def test_a_name_where_nothing_is_known_says_so():
    assert unknown("protocol", "speaker5", []) == "no protocol is called 'speaker5'. Known: none"


def test_two_near_names_are_both_suggested():
    assert "Did you mean 'session5' or 'session10'?" in unknown("protocol", "session", ["session5", "session10"])


@pytest.mark.parametrize(("n", "said"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (5, "0, 1, 2 and 2 more")])
def test_long_enumerations_are_cut(n, said):
    assert few(range(n), most=3) == said
