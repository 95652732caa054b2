"""CaFE, the Canadian French emotional speech dataset (2018): 936 utterances, 12 actors, Canadian French.

Six men and six women each speak six sentences in six acted emotions at two intensities, and in neutral: 78 files each.
1.16 h; the same recordings are published at 48 kHz (wav) and at 192 kHz (aiff). All speaker folds share the sentences.

A file is `Peur/Fort/12-P-2-5.wav`: actor 12, emotion P, intensity 2 (strong), sentence 5; odd actors are men, even ones
women. The folders have accents (`Dégoût`), which some tools unpack as other letters: they are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, audio_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {
    "C": "angry",  # colère
    "D": "disgust",
    "J": "happy",  # joie
    "N": "neutral",
    "P": "fear",  # peur
    "S": "surprise",
    "T": "sad",  # tristesse
}
INTENSITIES = {"1": "mild", "2": "strong"}
ACTORS = tuple(f"{n:02d}" for n in range(1, 13))
PAIRS = {f"{ACTORS[k]}-{ACTORS[k + 1]}": ACTORS[k : k + 2] for k in range(0, 12, 2)}
SENTENCES = {
    "1": "Un cheval fou dans mon jardin",
    "2": "Deux ânes aigris au pelage brun",
    "3": "Trois cygnes aveugles au bord du lac",
    "4": "Quatre vieilles truies éléphantesques",
    "5": "Cinq pumas fiers et passionnés",
    "6": "Six ours aimants domestiqués",
}
TEXTS = {"1-2": ("1", "2"), "3-4": ("3", "4"), "5-6": ("5", "6")}
NAME = re.compile(r"(?P<actor>\d\d)-(?P<code>[A-Z])-(?P<intensity>[12])-(?P<text>[1-6])")


class Cafe(Corpus):
    """CaFE: 936 acted Canadian French utterances, 12 actors, 7 emotions."""

    citation = (
        "P. Gournay, O. Lahaie, R. Lefebvre: A Canadian French Emotional Speech Dataset. ACM Multimedia Systems "
        "Conference (MMSys) 2018, 399-402"
    )
    licence = "CC BY-NC-SA 4.0"
    access = (
        "Download CaFE_48k.zip (or CaFE_192k_1.zip and CaFE_192k_2.zip, not both rates) from "
        "https://zenodo.org/records/1478765 and unpack it."
    )
    language = "French"
    hours = 1.16
    layout = "seven folders such as Peur/Fort with 936 files in all, such as 12-P-2-5.wav (192 kHz: 12-P-2-5.aiff)"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts={label: 72 if label == "neutral" else 144 for label in LABELS.values()},
            speakers=dict.fromkeys(ACTORS, 78),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "sad", "neutral")},
            counts={"angry": 144, "happy": 144, "sad": 144, "neutral": 72},
            speakers=dict.fromkeys(ACTORS, 42),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker6",
            version=1,
            key="speaker",
            groups=PAIRS,
            summary="6 folds of one man and one woman; the next pair validates",
        ),
        GroupFolds(
            "text3",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 3 folds of two sentences; the next two validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text18",
            version=1,
            key="speaker",
            groups=PAIRS,
            texts=TEXTS,
            summary="18 folds of a man and a woman saying two sentences; the next pair validates, saying the others",
            shared_texts=True,
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in audio_files(root, (".wav", ".aiff", ".aif")):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["actor"] not in ACTORS:
                raise CorpusError(f"{path} is not named like a file of CaFE. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["actor"],
                gender="male" if int(parts["actor"]) % 2 else "female",
                text=parts["text"],
                transcript=SENTENCES[parts["text"]],
                intensity=INTENSITIES[parts["intensity"]] if parts["code"] != "N" else None,
                language="fr",
            )

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 12 actors x (neutral, 6 emotions x 2 intensities) x 6 sentences."""
        cells = [f"{code}-{level}" for code, level in product(LABELS, INTENSITIES) if (code, level) != ("N", "2")]
        return frozenset("-".join(parts) for parts in product(ACTORS, cells, SENTENCES))
