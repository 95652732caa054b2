"""Gradient-boosted decision trees on functionals."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from sertbench.estimator_layers import all_classes, best_step
from sertbench.feature_spec import FUNCTIONALS, UtteranceSpec
from sertbench.model import Choice, Estimator, Examples, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

ROUNDS = 100


class Gbdt(Estimator):
    """Gradient-boosted trees on histograms, on one row of functionals per utterance.

    scikit-learn's HistGradientBoostingClassifier with its own defaults, but for three things: classes are weighted
    evenly; of 100 rounds as many are kept as are best for the UAR on the validation part; columns have 63 bins, not
    255, which speech corpora are too small to fill and which take four times as long. Each node sees a random share of
    the columns: by default all, and then nothing is random but for more than 200,000 utterances.
    """

    paper = "Ke et al., LightGBM: a highly efficient gradient boosting decision tree, NIPS 2017"
    family = "trees"
    year = 2017
    recipe = Recipe(features=UtteranceSpec("functionals"))
    feature_kinds = (*FUNCTIONALS, "ssl")

    def __init__(
        self, n_classes: int, seed: int, shrinkage: float = 0.1, leaves: int = 31, least: int = 20, share: float = 1.0
    ) -> None:
        super().__init__(n_classes, seed)
        self.shrinkage = shrinkage  # of each tree's values
        self.leaves = leaves  #       per tree, at most
        self.least = least  #         utterances in a leaf
        self.share = share  #         of the columns, per node

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Choose the shrinkage and the size and randomness of the trees."""
        return {
            "shrinkage": trial.suggest_float("shrinkage", 0.02, 0.3, log=True),
            "leaves": trial.suggest_int("leaves", 4, 63, log=True),
            "least": trial.suggest_int("least", 5, 50, log=True),
            "share": trial.suggest_float("share", 0.1, 1.0),
        }

    def fit(self, train: Examples, val: Examples) -> None:
        """Boost, and keep the best number of rounds on the validation part."""
        self.trees = HistGradientBoostingClassifier(
            max_iter=self.step or ROUNDS,
            max_bins=63,
            learning_rate=self.shrinkage,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.least,
            max_features=self.share,
            class_weight="balanced",
            early_stopping=False,
            random_state=self.seed,
        ).fit(train.functionals, train.targets)
        if self.step is None:
            self.step = best_step(self.trees.staged_predict(val.functionals), val, self.n_classes)

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        assert self.step is not None, "fit comes first"
        (probabilities,) = islice(self.trees.staged_predict_proba(examples.functionals), self.step - 1, self.step)
        return all_classes(probabilities, self.trees.classes_, self.n_classes)
