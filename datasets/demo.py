"""demo, a made-up corpus: 384 utterances, 8 synthetic voices, 4 emotions; sertbench writes it itself.

Four female and four male voices each say twelve nonsense sentences in every emotion. 0.13 h, 16 kHz mono, 15 MB. It is
there to try the program and to test it: scores on it say nothing about people and are never ranked.

A file is `f1-s01-angry.wav`: voice, sentence, emotion. The voices are described in `sertbench.synthesis`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {label: label for label in ("neutral", "happy", "sad", "angry")}
VOICES = ("f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4")
TEXTS = tuple(f"s{n:02d}" for n in range(1, 13))
PAIRS = {n: (f"f{n}", f"m{n}") for n in "1234"}
THREES = {f"{TEXTS[i]}-{TEXTS[i + 2]}": TEXTS[i : i + 3] for i in range(0, 12, 3)}
NAME = re.compile(r"(?P<speaker>[fm]\d)-(?P<text>s\d\d)-(?P<code>[a-z]+)")


class Demo(Corpus):
    """demo: 384 synthetic utterances, 8 voices, 4 emotions; made on first use, for trying the program."""

    citation = "none: synthesised by sertbench"
    licence = "MIT, as sertbench itself"
    access = "Nothing to get: leave out --data and sertbench writes it into its cache."
    language = "none"
    hours = 0.13
    layout = "384 files such as f1-s01-angry.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "4class",
            mapping=LABELS,
            counts=dict.fromkeys(LABELS, 96),
            speakers=dict.fromkeys(VOICES, 48),
        ),
    )
    protocols = (
        GroupFolds(
            "speaker4",
            version=1,
            key="speaker",
            groups=PAIRS,
            summary="4 folds of one female and one male voice; the next pair validates",
        ),
        GroupFolds(
            "text4",
            version=1,
            key="text",
            groups=THREES,
            summary="speaker-dependent, never ranked: 4 folds of three sentences; the next three validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text16",
            version=1,
            key="speaker",
            groups=PAIRS,
            texts=THREES,
            summary="16 folds of two voices saying three sentences; no role shares a voice or a sentence",
        ),
        RANDOM10,
    )
    synthetic = True

    def prepare(self, cache: Path) -> Path:
        """Write the corpus below `cache`, as far as it is not there, and return its folder."""
        from sertbench import synthesis  # numpy and scipy, which listing corpora must not load

        return synthesis.ensure(cache / f"demo-{synthesis.VERSION}")

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts:
                raise CorpusError(f"{path} is not a file of the demo corpus. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"].startswith("f") else "male",
                text=parts["text"],
            )

    def expected_ids(self) -> frozenset[str]:
        """Every voice says every sentence in every emotion."""
        return frozenset("-".join(parts) for parts in product(VOICES, TEXTS, LABELS))
