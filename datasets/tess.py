"""TESS, the Toronto emotional speech set (2010): 2800 utterances, 2 actresses, English.

A woman of 64 years (OAF) and one of 26 (YAF) each say "Say the word ..." with 200 words in seven acted emotions.
1.60 h, 24,414 Hz mono, but for OAF_food_fear.wav at 96 kHz. Surprise is pleasant surprise, `ps` in the names.

With two speakers there are no three parts that share none, and what holds for one of them need not hold for a third:
nothing is ranked here. All words are in both folds by speaker. Duration alone, without listening, gives a UAR of 27.8
(chance is 14.3).

A file is `OAF_back_angry.wav`: actress, word, emotion. Some copies have one as OA_bite_neutral.wav.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, SharedValidation
from sertbench.protocols import GroupFolds

LABELS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
SPEAKERS = ("OAF", "YAF")
LIST = """
    back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat check
    cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall far fat fit
    five food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire hit hole home
    hurl hush jail jar join judge jug juice keen keep keg kick kill king kite knock late laud lean learn lease
    lid life limb live loaf long lore lose lot love luck make match merge mess met mill mob mode mood moon mop
    mouse nag name near neat nice note numb pad page pain pass pearl peg perch phone pick pike pole pool puff
    rag raid rain raise rat reach read red ring ripe road room rose rot rough rush said sail search seize sell
    shack shall shawl sheep shirt should shout size soap soup sour south sub such sure take talk tape team tell
    thin third thought thumb time tip tire ton tool tough turn vine voice void vote wag walk wash week wheat
    when which whip white wife wire witch yearn yes young youth
"""
WORDS = tuple(LIST.split())
NAME = re.compile(r"(?P<speaker>OAF?|YAF)_(?P<word>[a-z]+)_(?P<code>[a-z]+)")


class Tess(Corpus):
    """TESS: 2800 acted English utterances, 2 actresses, 7 emotions; never ranked."""

    citation = (
        "M. K. Pichora-Fuller, K. Dupuis: Toronto emotional speech set (TESS). Borealis, 2020, doi:10.5683/SP2/E8H2MF"
    )
    licence = "CC BY-NC or BY-NC-ND 4.0: sources differ, see the terms of the record"
    access = "Download the wav files from https://doi.org/10.5683/SP2/E8H2MF and unpack them."
    language = "English"
    hours = 1.6
    layout = "2800 files such as OAF_back_angry.wav, in one folder or in one for each actress and emotion"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts=dict.fromkeys(LABELS.values(), 400),
            speakers=dict.fromkeys(SPEAKERS, 1400),
            note="surprise is pleasant surprise",
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "sad", "neutral")},
            counts=dict.fromkeys(("angry", "happy", "sad", "neutral"), 400),
            speakers=dict.fromkeys(SPEAKERS, 800),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        SharedValidation(
            "speaker2",
            version=1,
            key="speaker",
            groups={speaker: (speaker,) for speaker in SPEAKERS},
            summary="2 folds of one speaker; a fifth of the other one's words validates",
            drawn="text",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups={f"{WORDS[k]}-{WORDS[k + 39]}": WORDS[k : k + 40] for k in range(0, 200, 40)},
            summary="speaker-dependent: 5 folds of 40 words; the next 40 validate",
            keeps=(),
        ),
        RANDOM10,
    )
    unranked = "two speakers only: no third one can validate, and two say little about others"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["word"] not in WORDS:
                raise CorpusError(f"{path} is not named like a file of TESS. Expected: {self.layout}")
            speaker = "YAF" if parts["speaker"] == "YAF" else "OAF"
            yield Utterance(
                id=f"{speaker}_{parts['word']}_{parts['code']}",
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=speaker,
                gender="female",
                text=parts["word"],
                transcript=f"Say the word {parts['word']}",
                language="en",
            )

    def ages(self, root: Path) -> dict[str, int]:  # noqa: ARG002 - the publication tells them
        """Years of both speakers."""
        return {"OAF": 64, "YAF": 26}

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 2 speakers x 200 words x 7 emotions."""
        return frozenset("_".join(cell) for cell in product(SPEAKERS, WORDS, LABELS))
