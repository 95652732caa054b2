"""The words alone."""

from __future__ import annotations

import re

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from sertbench.corpus import Utterance
from sertbench.errors import TrainingError
from sertbench.model import Estimator, Examples, Recipe


class Text(Estimator):
    """Diagnostic: logistic regression on the words of the transcript, without audio (on the text id if there is none).

    A UAR above chance is what reading is worth under this protocol; a model that recognises words competes with it. On
    IEMOCAP by session it is far above chance, because all sessions share their scripts. Words count once each, classes
    are weighted evenly, and an utterance without a word known from training gets the class prior.
    """

    paper = "none: a diagnostic"
    family = "diagnostic"
    recipe = Recipe()
    diagnostic = True

    def fit(self, train: Examples, val: Examples) -> None:
        """Fit on the training part. Raises TrainingError if none of it has a transcript or a text id."""
        del val
        assert train.targets is not None, "the training part has its targets"
        self.prior = np.bincount(train.targets, minlength=self.n_classes) / len(train.targets)
        bags = [bag(u, spoken=True) for u in train.utterances]
        self.spoken = any(bags)
        if not self.spoken:
            bags = [bag(u, spoken=False) for u in train.utterances]
        if not any(bags):
            raise TrainingError(
                f"model text: none of the {len(bags)} training utterances has a transcript or a text id. Set "
                "Utterance.transcript or .text in the corpus adapter, or run majority, duration, loudness or speaker"
            )
        self.vectoriser = DictVectorizer().fit(bags)
        self.classifier = None
        if (self.prior > 0).sum() > 1:
            self.classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
            self.classifier.fit(self.vectoriser.transform(bags), train.targets)

    def predict_proba(self, examples: Examples) -> np.ndarray:
        """Give class probabilities, (n, n_classes); 0 for a class that the training part lacks."""
        x = self.vectoriser.transform([bag(u, self.spoken) for u in examples.utterances])
        probabilities = np.tile(self.prior, (len(examples.utterances), 1))
        known = x.getnnz(axis=1) > 0
        if self.classifier is not None and known.any():
            probabilities[np.ix_(known, self.classifier.classes_)] = self.classifier.predict_proba(x[known])
        return probabilities


def bag(utterance: Utterance, spoken: bool) -> dict[str, int]:
    """The words of the transcript in lower case, or else the text id, once each."""
    ids = [utterance.text] if utterance.text else []
    return dict.fromkeys(re.findall(r"\w+(?:'\w+)*", (utterance.transcript or "").lower()) if spoken else ids, 1)
