"""Logistic regression on functionals."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sertbench.estimator_layers import C_GRID, all_classes, best_step
from sertbench.feature_spec import FUNCTIONALS, UtteranceSpec
from sertbench.model import Estimator, Examples, Recipe


class LogReg(Estimator):
    """Multinomial logistic regression on one row of functionals per utterance.

    Columns are standardised with the training part's mean and deviation, classes are weighted evenly, and C, the
    inverse of the L2 penalty, is the one of 1e-5 to 10 with the best UAR on the validation part (the smallest of
    equals); the bundle's epoch is its place in that grid. There is nothing else to tune, and nothing is random.
    """

    paper = "Cox, The regression analysis of binary sequences, J. Royal Statistical Society B 1958"
    family = "linear"
    year = 1958
    recipe = Recipe(features=UtteranceSpec("functionals"))
    feature_kinds = (*FUNCTIONALS, "ssl")

    def fit(self, train: Examples, val: Examples) -> None:
        """Fit one model per C and keep the best on the validation part."""
        x = train.functionals.astype(np.float64)
        if self.step is None:
            models = (self.model(C).fit(x, train.targets) for C in C_GRID)
            self.step = best_step((m.predict(val.functionals) for m in models), val, self.n_classes)
        self.classifier = self.model(C_GRID[self.step - 1]).fit(x, train.targets)

    def model(self, C: float) -> Pipeline:
        """An unfitted model."""
        return make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=5000))

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        probabilities = self.classifier.predict_proba(examples.functionals)
        return all_classes(probabilities, self.classifier.classes_, self.n_classes)
