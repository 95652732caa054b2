"""SAVEE, the Surrey audio-visual expressed emotion database (2009): 480 utterances, 4 men, British English.

Four postgraduate students and researchers each speak 15 sentences in six acted emotions and 30 neutral ones. 0.51 h,
44.1 kHz. Of the 15 sentences three are common to all emotions and twelve belong to one emotion alone (two of them to
neutral as well): the words nearly tell the emotion, and all speaker folds share the sentences. The names do not tell
which sentences are the common ones, so there is no protocol that holds texts out.

A file is `DC/a01.wav`, or `DC_a01.wav` in flat copies: speaker DC, emotion a, sentence 01.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10
from sertbench.protocols import GroupFolds

LABELS = {
    "a": "angry",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")
NAME = re.compile(r"(?:(?P<speaker>[A-Z]{2})_)?(?P<code>[a-z]{1,2})(?P<sentence>\d\d)")


class Savee(Corpus):
    """SAVEE: 480 acted British English utterances, 4 men, 7 emotions."""

    citation = "S. Haq, P. J. B. Jackson: Speaker-dependent audio-visual emotion recognition. AVSP 2009, 53-58"
    licence = "free for research, after registration; no redistribution"
    access = "Register at http://kahlan.eps.surrey.ac.uk/savee and unpack AudioData.zip."
    language = "English"
    release = "form"
    hours = 0.51
    layout = "four folders DC, JE, JK and KL with 120 files each, such as DC/a01.wav, or 480 files such as DC_a01.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts={label: 120 if label == "neutral" else 60 for label in LABELS.values()},
            speakers=dict.fromkeys(SPEAKERS, 120),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "sad", "neutral")},
            counts={"angry": 60, "happy": 60, "sad": 60, "neutral": 120},
            speakers=dict.fromkeys(SPEAKERS, 75),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker4",
            version=1,
            key="speaker",
            groups={speaker: (speaker,) for speaker in SPEAKERS},
            summary="4 folds of one speaker; the next speaker validates",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name, but the speaker where the folder is named after him."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            speaker = parts and (parts["speaker"] or path.parent.name)
            if not parts or speaker not in SPEAKERS:
                raise CorpusError(f"{path} is not named like a file of SAVEE. Expected: {self.layout}")
            yield Utterance(
                id=f"{speaker}_{parts['code']}{parts['sentence']}",
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=speaker,
                gender="male",
                language="en",
            )

    def expected_ids(self) -> frozenset[str]:
        """4 speakers x (30 neutral sentences, 15 of each other emotion)."""
        return frozenset(
            f"{speaker}_{code}{sentence:02d}"
            for speaker in SPEAKERS
            for code in LABELS
            for sentence in range(1, 31 if code == "n" else 16)
        )
