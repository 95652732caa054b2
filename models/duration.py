"""Duration alone."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from sertbench.model import Estimator, Examples, Recipe


class Duration(Estimator):
    """Diagnostic: a random forest on the duration of the utterance, and nothing else.

    A UAR above chance says how far the cutting of the files gives the emotion away. Some of it is speech (sad turns are
    slow), some is an artefact (one class cut more closely, or padded to a round length), and the forest finds both; a
    model that sees padding or the number of windows can use it too. Classes are weighted evenly, so that a skewed
    corpus cannot hide a shortcut. Trees only compare, so seconds are as good as their logarithm.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe()
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Fit on the durations of the training part."""
        del val
        # Histogram boosting takes all cores and waits for busy ones; this forest runs in one thread.
        self.forest = RandomForestClassifier(
            n_estimators=50, min_samples_leaf=10, class_weight="balanced", random_state=self.seed
        )
        self.forest.fit(train.seconds[:, None], train.targets)

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        probabilities = np.zeros((len(examples.utterances), self.n_classes))
        probabilities[:, self.forest.classes_] = self.forest.predict_proba(examples.seconds[:, None])
        return probabilities
