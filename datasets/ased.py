"""ASED 1.0, the Amharic speech emotion dataset (2021): 2474 utterances, 65 speakers, Amharic.

25 women and 40 men, of four dialects, spoke five sentences written for each of five emotions, and two sentences common
to all emotions, each twice; what five of eight judges did not accept was removed, so that 37 speakers have the written
sentences and 47 have common ones. 2.11 h, 16 kHz.

Three quarters of the utterances are sentences that belong to one emotion alone: their words tell the emotion, and all
speaker folds share them. Take the subset `common`, or a protocol that holds texts out, to hear emotions alone.

A file is `05Angry/a5-03-01-02-50.wav`: emotion a, sentence 03 (01 and 02 are the common ones), repetition 01, a man
(02), speaker 50. Five names call a woman a man; one name begins with a capital, and the ids here do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {"n1": "neutral", "f2": "fear", "h3": "happy", "s4": "sad", "a5": "angry"}
COMMON = ("01", "02")
WRITTEN = ("03", "04", "05", "06", "07")

# Each speaker: a woman or a man, + with the written sentences, and the emotions of the common ones.
KEPT = """
    01w+nfhsa 02mnfhsa 03wnfhsa 04m+nfhsa 05w+nfha 06m+nfhsa 07wnsa 08mnh 09wnhsa 10m+nfha 11w+ns 12mnfa 13w+nfhsa
    14mnfsa 15wnfh 16mnh 17wnfh 18mnfha 19wnfha 20m+n 21w+nf 22mnh 23w+ 24mnhs 25w+nfsa 26m+nfsa 27w+fhsa 28m+fhsa
    29w+fhsa 30m+fhsa 31w+f 32mnfhsa 33wfha 34mn 35wns 36mnfs 37wnfa 38mnfsa 39m+nfhsa 40mf 41m+nfhsa 42mnf 43wfh 44mnf
    45m+ 46mna 47wnfhsa 48w+ 49wha 50m+nfhsa 51m+ 52m+ 53m+ 54m+ 55m+ 56m+ 57m+ 58w+ 59m+ 60m+ 61m+ 62w+ 63m+ 64m+ 65m+
"""
SPEAKERS = {word[:2]: word[2:] for word in KEPT.split()}
REJECTED = {"a5-01-01-01-47", "a5-01-02-01-47", "a5-02-01-01-49", "a5-02-02-01-49"}
MISPRINTS = {  # as the design has them, and as they are published
    "f2-01-01-01-15": "f2-01-01-02-15",
    "f2-02-01-01-25": "f2-02-01-02-25",
    "f2-07-02-01-21": "f2-07-02-02-21",
    "s4-01-02-01-09": "s4-01-02-02-09",
    "s4-04-01-01-23": "s4-04-01-02-23",
}
KINDS = sorted(SPEAKERS, key=lambda speaker: (SPEAKERS[speaker][:2], speaker))  # by sex and by what was kept
FIVE = {str(k + 1): tuple(KINDS[k::5]) for k in range(5)}
TEXTS = {
    sentence: tuple(f"{emotion}-{sentence}" for emotion in LABELS.values()) + COMMON[k : k + 1]
    for k, sentence in enumerate(WRITTEN)
}
NAME = re.compile(r"(?P<code>[a-z]\d)-(?P<sentence>0[1-7])-0[12]-0[12]-(?P<speaker>\d\d)")
COUNTS = {  # common, written
    "neutral": (152, 370),
    "fear": (140, 370),
    "happy": (116, 370),
    "sad": (100, 370),
    "angry": (116, 370),
}


def label_set(name: str, labels: tuple[str, ...], note: str = "") -> LabelSet:
    """A label set of some of the emotions."""
    return LabelSet(
        name,
        mapping={label: label for label in labels},
        counts={label: sum(COUNTS[label]) for label in labels},
        subset_counts={
            subset: {label: COUNTS[label][k] for label in labels} for k, subset in enumerate(("common", "written"))
        },
        note=note,
    )


class Ased(Corpus):
    """ASED: 2474 acted Amharic utterances, 65 speakers, 5 emotions."""

    citation = (
        "E. A. Retta, E. Almekhlafi, R. Sutcliffe, M. Mhamed, H. Ali, J. Feng: A New Amharic Speech Emotion Dataset "
        "and Classification Benchmark. ACM Transactions on Asian and Low-Resource Language Information Processing, 2022"
    )
    licence = "not stated; the authors call it freely available, and ask for the citation"
    access = "Type `git clone https://github.com/Ethio2021/ASED_V1.git`."
    language = "Amharic"
    n_speakers = 65
    hours = 2.11
    archives = (
        Archive(
            "https://codeload.github.com/Ethio2021/ASED_V1/tar.gz/30fee0345cbd37e12dd725fbe69f90522cffb046",
            "ASED_V1.tar.gz",
            "git:99228fa8bc3ba16bb0d5fa3d6e68405531a903cd",
            size=242_698_387,
            inside="ASED_V1-30fee0345cbd37e12dd725fbe69f90522cffb046",
        ),
    )
    layout = "five folders such as 05Angry with 2474 files in all, such as 05Angry/a5-03-01-02-50.wav"
    labels = LABELS
    label_sets = (
        label_set("5class", tuple(LABELS.values())),
        label_set("4class", ("neutral", "happy", "sad", "angry"), "the classes of the common IEMOCAP task"),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FIVE,
            summary="5 folds of 13 speakers, 5 women and 8 men; the next fold's speakers validate",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of a written sentence of each emotion; the next validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text25",
            version=1,
            key="speaker",
            groups=FIVE,
            texts=TEXTS,
            summary="25 folds of 13 speakers saying a sentence of each emotion; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    subsets = ("common", "written")
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name, but the speaker's sex where it is misprinted."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem.lower())
            if not parts or parts["speaker"] not in SPEAKERS:
                raise CorpusError(f"{path} is not named like a file of ASED. Expected: {self.layout}")
            label, common = self.label_of(parts["code"], path), parts["sentence"] in COMMON
            yield Utterance(
                id=path.stem.lower(),
                path=path,
                label=label,
                speaker=parts["speaker"],
                gender="female" if SPEAKERS[parts["speaker"]].startswith("w") else "male",
                text=parts["sentence"] if common else f"{label}-{parts['sentence']}",
                style="common" if common else "written",
                language="am",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 2474 published names: what was kept of each speaker, with what is misprinted."""
        names = set()
        for (speaker, kept), code in product(SPEAKERS.items(), LABELS):
            sentences = (COMMON if code[0] in kept[1:] else ()) + (WRITTEN if "+" in kept else ())
            sex = "01" if kept.startswith("w") else "02"
            names |= {f"{code}-{s}-{repetition}-{sex}-{speaker}" for s, repetition in product(sentences, ("01", "02"))}
        return frozenset(MISPRINTS.get(name, name) for name in names - REJECTED)
