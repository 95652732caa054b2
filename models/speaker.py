"""Who talks."""

from __future__ import annotations

import numpy as np

from sertbench.model import Estimator, Examples, Recipe


class Speaker(Estimator):
    """Diagnostic: each speaker's most frequent class in training, the overall one for a speaker not met there.

    Where training and test share no speaker it answers as the majority model does, so its UAR is chance; anything else
    says that the protocol is not speaker-disjoint. Under a random split its score is what recognising voices is
    worth: 96 % of URDU's clips have their speaker's most frequent class.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe()
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Count the classes of each speaker of the training part."""
        del val
        assert train.targets is not None, "the training part has its targets"
        self.prior = np.bincount(train.targets, minlength=self.n_classes) / len(train.targets)
        self.counts: dict[str, np.ndarray] = {}
        for utterance, target in zip(train.utterances, train.targets, strict=True):
            self.counts.setdefault(utterance.speaker, np.zeros(self.n_classes))[target] += 1

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give (counts of the speaker + prior) / (their sum + 1), (n, n_classes): the prior decides ties alone."""
        probabilities = np.tile(self.prior, (len(examples.utterances), 1))
        for row, utterance in zip(probabilities, examples.utterances, strict=True):
            row += self.counts.get(utterance.speaker, 0)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities
