"""Classes that a plan warns of: few utterances or speakers, or absent from a part of a fold."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertbench.class_coverage import sparse
from sertbench.corpus import Manifest, Utterance
from sertbench.protocol_rules import SpeakerFolds

CLASSES = ("calm", "sad")


def said(*turns: tuple[str, str, int]) -> list[str]:
    """What is said of turns (speaker, class, how many) in three folds of speakers."""
    labels = [(speaker, label) for speaker, label, n in turns for _ in range(n)]
    utterances = tuple(Utterance(f"{k:03}", Path("x.wav"), label, who) for k, (who, label) in enumerate(labels))
    targets = tuple(CLASSES.index(label) for _, label in labels)
    n = len(utterances)
    manifest = Manifest("made", "all", "all", CLASSES, utterances, targets, ("",) * n, (1.0,) * n)
    return sparse(manifest, SpeakerFolds("made", 1, groups=3).split(utterances))


@pytest.mark.parametrize(
    ("sad", "words"),
    [
        ({"a": 4, "b": 4, "c": 4}, []),
        ({"a": 3, "b": 3, "c": 3}, ["sad: 9 utterances of 3 speakers, for 1/2 of the UAR"]),
        (
            {"a": 1},
            [
                "sad: 1 utterance of 1 speaker, for 1/2 of the UAR; none in the training part of folds 1, 3; "
                "none in the test part of folds 2, 3"
            ],
        ),
        (
            {"a": 8, "b": 8},
            [
                "sad: 16 utterances of 2 speakers, for 1/2 of the UAR; none in the training part of fold 1; "
                "none in the test part of fold 3"
            ],
        ),
        (
            {},
            [
                "sad: 0 utterances of 0 speakers, for 1/2 of the UAR; none in the training part of any fold; "
                "none in the test part of any fold"
            ],
        ),
    ],
)
def test_a_class_is_named_with_what_it_lacks(sad: dict[str, int], words: list[str]) -> None:
    assert said(*((who, "calm", 20) for who in "abc"), *((who, "sad", n) for who, n in sad.items())) == words
