"""The seal: what a fit can reach before its fold is frozen, and the log of readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sertbench.errors import SealError
from sertbench.sealed import FeatureView, SealedTest


class Store:
    """Three utterances of two items each."""

    first = np.array([0, 2, 4, 6])
    frames = np.full(6, 5)
    input_shape = (3, 5)

    def items_of(self, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([2 * u + k for u in utterances for k in (0, 1)], dtype=np.int64), np.repeat(
            np.arange(len(utterances)), 2
        )

    def batch(self, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(items), 3, 5), torch.full((len(items),), 5)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((3, 1)), np.ones((3, 1))


def view_of_the_first_two() -> FeatureView:
    store: Any = Store()
    return FeatureView(store, np.array([0, 1]))


def test_a_view_gives_its_own_items_and_refuses_the_test_part() -> None:
    view = view_of_the_first_two()
    assert view.batch(np.array([0, 3]))[0].shape == (2, 3, 5)
    for reach in (view.batch, view.moments):
        with pytest.raises(SealError, match="outside this fold's training and validation parts"):
            reach(np.array([3, 4]))


@settings(max_examples=60, deadline=None)
@given(seen=st.sets(st.integers(0, 2)), asked=st.lists(st.integers(0, 5), min_size=1))
def test_a_view_gives_a_batch_exactly_if_all_of_it_is_its_own(seen: set[int], asked: list[int]) -> None:
    store: Any = Store()
    view = FeatureView(store, np.array(sorted(seen), dtype=np.int64))
    if {i // 2 for i in asked} <= seen:
        assert len(view.batch(np.array(asked))[0]) == len(asked)
    else:
        with pytest.raises(SealError):
            view.batch(np.array(asked))


def test_the_test_part_cannot_be_opened_before_freezing() -> None:
    sealed = SealedTest("1", (4, 5))
    with pytest.raises(SealError, match="sealed: freeze the fold first"):
        sealed.open(0)
    assert sealed.reads == []


def test_a_frozen_part_is_read_once_per_seed_and_logged() -> None:
    sealed = SealedTest("1", (4, 5))
    sealed.freeze({"learning_rate": 0.1}, {0: 3, 1: 5}, {0: "aaa", 1: "bbb"})
    assert sealed.open(0).tolist() == [4, 5]
    assert sealed.open(1).tolist() == [4, 5]
    assert [(r["fold"], r["seed"], r["fit"]) for r in sealed.reads] == [("1", 0, "aaa"), ("1", 1, "bbb")]
    with pytest.raises(SealError, match="already predicted with seed 0"):
        sealed.open(0)
    with pytest.raises(SealError, match="frozen without seed 2"):
        sealed.open(2)


def test_nothing_can_be_changed_after_freezing() -> None:
    sealed = SealedTest("1", (4, 5))
    frozen = sealed.freeze({"width": 8}, {0: 3}, {0: "aaa"})
    assert (frozen.choice, frozen.epochs, frozen.fits) == ({"width": 8}, {0: 3}, {0: "aaa"})
    with pytest.raises(SealError, match="frozen already"):
        sealed.freeze({"width": 16}, {0: 3}, {0: "aaa"})


@pytest.mark.parametrize(("epochs", "fits"), [({}, {}), ({0: 1}, {}), ({0: 1}, {1: "aaa"})])
def test_freezing_needs_the_epoch_and_the_fit_of_each_seed(epochs: dict[int, int], fits: dict[int, str]) -> None:
    with pytest.raises(SealError, match="the kept epoch and the fit of each seed"):
        SealedTest("1", (4, 5)).freeze({}, epochs, fits)
