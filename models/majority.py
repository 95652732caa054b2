"""The most frequent class."""

from __future__ import annotations

import numpy as np

from sertbench.model import Estimator, Examples, Recipe


class Majority(Estimator):
    """Diagnostic: always the most frequent class of the training part; the floor of every table.

    In each fold its UAR is chance, 1 / number of classes; pooled over folds it can differ a little, where the most
    frequent class is not the same in all of them. Its WA is what an accuracy has to be compared with: on a skewed
    corpus it looks good while nothing was recognised. The probabilities are the class prior.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe()
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Count the classes of the training part."""
        del val
        assert train.targets is not None, "the training part has its targets"
        self.prior = np.bincount(train.targets, minlength=self.n_classes) / len(train.targets)

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give the class prior for each utterance, (n, n_classes)."""
        return np.tile(self.prior, (len(examples.utterances), 1))
