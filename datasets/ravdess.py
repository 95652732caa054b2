"""RAVDESS, the Ryerson audio-visual database of emotional speech and song (2018), speech audio: 1440 files, English.

Twelve women and twelve men each say two sentences twice in eight acted emotions and, except neutral, two intensities:
60 files each. 1.48 h, 48 kHz; five files are stereo with two equal channels. Both sentences are in every fold. One
recording was published under two names (Actor_07, 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07). Songs are not used.

A file is `Actor_07/03-01-05-02-01-02-07.wav`: modality 03 (audio only), vocal channel 01 (speech), emotion 05,
intensity 02 (strong), statement 01, repetition 02, actor 07; odd actors are men, even ones women.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError, few
from sertbench.protocol_rules import BlockFolds, RandomFolds, SharedValidation
from sertbench.protocols import GroupFolds

LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
ACTORS = tuple(f"{n:02d}" for n in range(1, 25))
FOURS = {f"{ACTORS[i]}-{ACTORS[i + 3]}": ACTORS[i : i + 4] for i in range(0, 24, 4)}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
NAME = re.compile(
    r"(?P<modality>0[123])-(?P<voice>0[12])-(?P<code>\d\d)-(?P<intensity>0[12])-(?P<statement>0[12])"
    r"-(?P<repetition>0[12])-(?P<actor>\d\d)"
)


class Ravdess(Corpus):
    """RAVDESS speech: 1440 acted English utterances, 24 actors, 8 emotions."""

    citation = (
        "S. R. Livingstone, F. A. Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
        "PLoS ONE 13(5): e0196391, 2018"
    )
    licence = "CC BY-NC-SA 4.0"
    access = "Download Audio_Speech_Actors_01-24.zip from https://zenodo.org/records/1188976 and unpack it."
    language = "English"
    hours = 1.48
    archives = (
        Archive(
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            "Audio_Speech_Actors_01-24.zip",
            "md5:bc696df654c87fed845eb13823edef8a",
            size=208_468_073,
        ),
    )
    layout = "24 folders Actor_01 to Actor_24 with 60 files each, such as Actor_01/03-01-01-01-01-01-01.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "8class",
            mapping={label: label for label in LABELS.values()},
            counts={label: 96 if label == "neutral" else 192 for label in LABELS.values()},
            speakers=dict.fromkeys(ACTORS, 60),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("neutral", "happy", "sad", "angry")},
            counts={"neutral": 96, "happy": 192, "sad": 192, "angry": 192},
            speakers=dict.fromkeys(ACTORS, 28),
            note="the classes of the common IEMOCAP task; calm is left out, not merged with neutral",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker6",
            version=1,
            key="speaker",
            groups=FOURS,
            summary="6 folds of two women and two men; the next four validate",
        ),
        SharedValidation(
            "text2",
            version=1,
            key="text",
            groups={statement: (statement,) for statement in STATEMENTS},
            summary="speaker-dependent, never ranked: 2 folds of one sentence; five actors validate with the other one",
            keeps=(),
            drawn="speaker",  # a random 20 % of them: the recording that is there twice stays in one part
        ),
        BlockFolds(
            "speaker-text12",
            version=1,
            key="speaker",
            groups=FOURS,
            texts={statement: (statement,) for statement in STATEMENTS},
            summary="12 folds of four actors saying one sentence; the next four validate, saying the other",
            shared_texts=True,
        ),
        RandomFolds(
            "random10",
            version=1,
            test_tenths=1,
            n_folds=10,
            summary="speaker-dependent, never ranked: 10 random folds; one recording, there twice, needs --allow-leak",
        ),
    )
    channel = "mean"
    known_duplicates = (("03-01-03-01-02-01-07", "03-01-03-01-02-02-07"),)

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        other = []
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["actor"] not in ACTORS:
                raise CorpusError(f"{path} is not named like a file of RAVDESS. Expected: {self.layout}")
            if (parts["modality"], parts["voice"]) != ("03", "01"):
                other.append(path)
                continue
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["actor"],
                gender="male" if int(parts["actor"]) % 2 else "female",
                text=parts["statement"],
                transcript=STATEMENTS[parts["statement"]],
                intensity=INTENSITIES[parts["intensity"]],
                language="en",
            )
        if other:
            raise CorpusError(
                f"{root} holds {len(other)} files that are song or video sound, not speech audio: {few(other, 4)}. "
                "sertbench uses Audio_Speech_Actors_01-24.zip alone: unpack it into a folder of its own."
            )

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 24 actors x (neutral, 7 emotions x 2 intensities) x 2 statements x 2 repetitions."""
        cells = [(code, level) for code, level in product(LABELS, INTENSITIES) if (code, level) != ("01", "02")]
        return frozenset(
            f"03-01-{code}-{level}-{statement}-{repetition}-{actor}"
            for (code, level), statement, repetition, actor in product(cells, STATEMENTS, ("01", "02"), ACTORS)
        )
