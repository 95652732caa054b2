"""Recording level alone."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, Examples, Recipe


class Loudness(Estimator):
    """Diagnostic: a random forest on the mean and deviation of the level over time, and nothing else.

    The level is that of one band from 0 to 8 kHz, in dB, over the whole utterance. Anger is loud and sadness is soft,
    so a UAR above chance is expected; it says how much of a model's score needs no more than a level meter. It is also
    what is lost, or gained, when recordings are levelled: a corpus normalised per file or per class shows here.
    Classes are weighted evenly.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe(features=log_mel(1, top_db=None))  # a floor below the maximum would depend on the peak
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Fit on the mean and standard deviation of the level, (n, 2)."""
        del val
        self.forest = RandomForestClassifier(
            n_estimators=50, min_samples_leaf=10, class_weight="balanced", random_state=self.seed
        )
        self.forest.fit(train.functionals, train.targets)

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        probabilities = np.zeros((len(examples.utterances), self.n_classes))
        probabilities[:, self.forest.classes_] = self.forest.predict_proba(examples.functionals)
        return probabilities
