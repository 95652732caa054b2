"""Which text or scenario."""

from __future__ import annotations

import numpy as np

from sertbench.errors import TrainingError
from sertbench.model import Estimator, Examples, Recipe


class Scenario(Estimator):
    """Diagnostic: the most frequent class of each text or scenario in training, the overall one for a new text.

    It knows which sentence, script or improvised scene an utterance belongs to, and nothing that is heard or said. A
    UAR above chance says that the protocol shares texts between training and test, and that texts foretell emotions;
    a model that recognises the scene can score as much: 70 of 100 on IEMOCAP's four classes, by session. A
    corpus where every text is said in every emotion gives chance, and so does a protocol that holds the texts out.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe()
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Count the classes of each text of the training part. Raises TrainingError if no utterance has a text id."""
        del val
        assert train.targets is not None, "the training part has its targets"
        self.prior = np.bincount(train.targets, minlength=self.n_classes) / len(train.targets)
        self.counts: dict[str, np.ndarray] = {}
        for utterance, target in zip(train.utterances, train.targets, strict=True):
            if utterance.text:
                self.counts.setdefault(utterance.text, np.zeros(self.n_classes))[target] += 1
        if not self.counts:
            raise TrainingError(
                f"model scenario: none of the {len(train.utterances)} training utterances has a text id. Set "
                "Utterance.text in the corpus adapter, or run majority, duration, loudness or speaker"
            )

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give (counts of the text + prior) / (their sum + 1), (n, n_classes): the prior decides ties alone."""
        probabilities = np.tile(self.prior, (len(examples.utterances), 1))
        for row, utterance in zip(probabilities, examples.utterances, strict=True):
            if utterance.text:
                row += self.counts.get(utterance.text, 0)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities
