"""What the classic classifiers share: candidates judged by the validation part, and columns for all classes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sertbench.model import Examples
from sertbench.scores import score

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # as the Interspeech challenges tune their baselines, and one more


def best_step(predicted: Iterable[np.ndarray], val: Examples, n_classes: int) -> int:
    """Which candidate is best on the validation part, from 1: the first one of the highest UAR.

    `predicted` are the candidates' class indices of the validation utterances, (n_val,) each, the simplest candidate
    first.
    """
    assert val.targets is not None, "the validation part has its targets"
    uars = [score(val.targets, labels, n_classes).uar for labels in predicted]
    return int(np.argmax(uars)) + 1


def all_classes(values: np.ndarray, seen: np.ndarray, n_classes: int, absent: float = 0.0) -> np.ndarray:
    """Columns for all classes, (n, n_classes), of values for the classes that training had, (n, len(seen))."""
    full = np.full((len(values), n_classes), absent)
    full[:, seen] = values
    return full


def even_weights(targets: np.ndarray) -> np.ndarray:
    """A weight per example, (n,), with which each class that occurs weighs the same; they sum to 1."""
    counts = np.bincount(targets)
    weights: np.ndarray = 1.0 / (counts[targets] * np.count_nonzero(counts))
    return weights
