"""CREMA-D, the crowd-sourced emotional multimodal actors dataset (2014): 7442 utterances, 91 actors, English.

48 men and 43 women, 20 to 74 years old, each speak 12 sentences in six acted emotions, the first sentence (IEO) also
at three levels; 82 files each, but for 20 that were never published. 5.26 h, 16 kHz mono. All speakers speak the same
sentences: all speaker folds share the texts between training and test.

What the actors meant is not what listeners heard: of at least seven who heard a clip without its picture, the majority
agrees with the intended emotion for 41.6 % of the clips, more than half of the clips are heard as neutral, and 644 have
no single majority. The label set must be named with every figure. 1076_MTI_SAD_XX.wav is known to be silent and
1076_MTI_NEU_XX.wav nearly so; who leaves them out says so with --accept-missing. Three recordings were published under
two names each, of two emotions: 1006_TIE_HAP and NEU, 1013_WSI_DIS and SAD, 1017_IWW_ANG and FEA.

A file is `1001_IEO_HAP_LO.wav`: actor 1001, sentence IEO, emotion, level (XX: not told to the actor).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError, few
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

INTENDED = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
HEARD = {"A": "angry", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad", "tie": "several"}
EMOTIONS = tuple(INTENDED.values())
LEVELS = {"XX": None, "LO": "low", "MD": "medium", "HI": "high"}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "DFA": "Don't forget a jacket",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
ACTORS = tuple(str(n) for n in range(1001, 1092))
WOMEN_NUMBERS = """
    02 03 04 06 07 08 09 10 12 13 18 20 21 24 25 28 29 30 37 43 46 47 49 52 53 54 55 56 58 60 61 63 72 73 74 75 76 78
    79 82 84 89 91
"""
WOMEN = tuple(f"10{number}" for number in WOMEN_NUMBERS.split())  # as VideoDemographics.csv has it
MEN = tuple(actor for actor in ACTORS if actor not in WOMEN)
FIVE = {str(k + 1): WOMEN[k::5] + MEN[4 - k :: 5] for k in range(5)}  # 8 or 9 women and 9 or 10 men in each
BLOCKS = {"1001-1018": 0, "1019-1036": 18, "1037-1054": 36, "1055-1072": 54, "1073-1091": 72}
TEXTS = {  # a fifth to a third of the utterances each: IEO has nearly three times as many as another sentence
    "IEO-DFA": ("IEO", "DFA"),
    "IOM-IWL": ("IOM", "ITH", "ITS", "IWL"),
    "IWW-TAI": ("IWW", "MTI", "TAI"),
    "TIE-WSI": ("TIE", "TSI", "WSI"),
}
GRADED = [("IEO", code) for code in INTENDED if code != "NEU"]  # at three levels
UNPUBLISHED = {"1002": "TIE_NEU", "1008": "WSI", "1009": "MTI", "1019": "ITH", "1076": "ITS_NEU"}
NAME = re.compile(
    rf"(?P<clip>(?P<actor>1\d{{3}})_(?P<text>{'|'.join(SENTENCES)})_(?P<code>{'|'.join(INTENDED)})_)"
    r"(?P<level>LO|MD|HI|XX?)"  # 1040_ITH_SAD_X until 2022
)


def label(intended: str, heard: str) -> str:
    """The corpus label of a clip: both readings of it, from which each label set takes one."""
    return f"{intended}, heard {heard}"


LABELS = {f"{code}/{vote}": label(INTENDED[code], HEARD[vote]) for code, vote in product(INTENDED, HEARD)}


class CremaD(Corpus):
    """CREMA-D: 7442 acted English utterances, 91 actors, 6 emotions, as intended or as heard."""

    citation = (
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390, 2014"
    )
    licence = "Open Database License 1.0; contents: Database Contents License 1.0"
    access = (
        "Install git-lfs and type `git clone https://github.com/CheyneyComputerScience/CREMA-D.git`. "
        "A zip file of that page holds pointers instead of audio."
    )
    archives = (
        Archive(
            "https://codeload.github.com/CheyneyComputerScience/CREMA-D/tar.gz/1658cd342dff90010aa843eaeebd53610a08b1dc",
            "CREMA-D.tar.gz",
            "git:387d831b6b63df157bef95de05ec61dbffc95da3",
            size=605_899_936,
            inside="CREMA-D-1658cd342dff90010aa843eaeebd53610a08b1dc/AudioWAV",
            lfs="https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/"
            "1658cd342dff90010aa843eaeebd53610a08b1dc/AudioWAV",
        ),
        Archive(
            "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/1658cd342dff90010aa843eaeebd53610a08b1dc/"
            "processedResults/summaryTable.csv",
            "summaryTable.csv",
            "sha256:fb0e382700d32c0d9adc0c6815292215a36bcf912f2657048862c91e3bd2b317",
            size=449_048,
            packed=False,
        ),
    )
    language = "English"
    known_silent = ("1076_MTI_SAD_XX", "1076_MTI_NEU_XX")
    known_duplicates = (
        ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
        ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
        ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
    )
    hours = 5.26
    layout = (
        "folders AudioWAV with 7442 files such as 1001_IEO_HAP_LO.wav, and processedResults with summaryTable.csv "
        "(which emotion listeners heard)"
    )
    labels = LABELS
    label_sets = (
        LabelSet(
            "6class",
            mapping={label(intended, heard): intended for intended, heard in product(EMOTIONS, HEARD.values())},
            counts={emotion: 1087 if emotion == "neutral" else 1271 for emotion in EMOTIONS},
            speakers={**dict.fromkeys(ACTORS, 82), "1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81},
            note="what the actor was to express",
        ),
        LabelSet(
            "6class-voicevote",
            mapping={label(intended, heard): heard for heard, intended in product(EMOTIONS, EMOTIONS)},
            counts={"angry": 986, "disgust": 547, "fear": 645, "happy": 353, "neutral": 3897, "sad": 370},
            note="what most listeners heard, by sound alone; 644 clips with ties are left out",
        ),
        LabelSet(
            "4class",
            mapping={
                label(intended, heard): intended
                for intended, heard in product(("angry", "happy", "sad", "neutral"), HEARD.values())
            },
            counts={"angry": 1271, "happy": 1271, "sad": 1271, "neutral": 1087},
            note="as intended; the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FIVE,
            summary="5 folds of 18 or 19 actors, women and men as in the whole; the next fold's actors validate",
        ),
        GroupFolds(
            "speaker5-emosuperb",
            version=1,
            key="speaker",
            groups={name: ACTORS[i : 91 if i == 72 else i + 18] for name, i in BLOCKS.items()},
            summary="the five folds of EMO-SUPERB: actors in the order of their numbers; the next block validates",
        ),
        GroupFolds(
            "text4",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 4 folds of two to four sentences; the next ones validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text20",
            version=1,
            key="speaker",
            groups=FIVE,
            texts=TEXTS,
            summary="20 folds of 18 or 19 actors saying two to four sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name, but for what listeners heard."""
        clips = {path: self.parts(path) for path in wav_files(root)}
        votes = voice_votes(root) if clips else {}
        unheard = [clip for clip in self.expected_ids() if clip not in votes]
        if unheard and {name for name, _ in clips.values()} >= self.expected_ids():  # else missing clips are named
            raise CorpusError(
                f"{root}: no row of a summaryTable.csv tells what listeners heard in {len(unheard)} clips: "
                f"{few(sorted(unheard))}. Put processedResults/summaryTable.csv of the repository there. {self.access}"
            )
        for path, (clip, parts) in clips.items():
            yield Utterance(
                id=clip,
                path=path,
                label=self.label_of(f"{parts['code']}/{votes.get(clip, 'tie')}", path),
                speaker=parts["actor"],
                gender="female" if parts["actor"] in WOMEN else "male",
                text=parts["text"],
                transcript=SENTENCES[parts["text"]],
                intensity=LEVELS[clip[-2:]],
                language="en",
            )

    def parts(self, path: Path) -> tuple[str, re.Match[str]]:
        """The clip's name as it is in the table, and the parts of the file's name."""
        parts = NAME.fullmatch(path.stem)
        if not parts or parts["actor"] not in ACTORS:
            raise CorpusError(f"{path} is not named like a file of CREMA-D. Expected: {self.layout}")
        return parts["clip"] + ("XX" if parts["level"] == "X" else parts["level"]), parts

    def ages(self, root: Path) -> dict[str, int]:
        """Years of each actor, where VideoDemographics.csv of the repository lies below `root`."""
        tables = sorted(root.rglob("VideoDemographics.csv"))
        if not tables:
            return {}
        with tables[0].open(encoding="utf-8", newline="") as file:
            return {row["ActorID"]: int(row["Age"]) for row in csv.DictReader(file) if row["Age"].isdigit()}

    def expected_ids(self) -> frozenset[str]:
        """Every actor, sentence and emotion, the first sentence at three levels, without the 20 unpublished ones."""
        kinds = [f"{text}_{code}_{level}" for (text, code), level in product(GRADED, ("LO", "MD", "HI"))]
        kinds += [f"{text}_{code}_XX" for text, code in product(SENTENCES, INTENDED) if (text, code) not in GRADED]
        return frozenset(
            f"{actor}_{kind}"
            for actor, kind in product(ACTORS, kinds)
            if actor not in UNPUBLISHED or not kind.startswith(UNPUBLISHED[actor])
        )


def voice_votes(root: Path) -> dict[str, str]:
    """Which emotion most listeners heard in each clip, or "tie" (`A:D` in the table); empty without the table."""
    tables = sorted(path for path in root.rglob("summaryTable.csv"))
    if not tables:
        return {}
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"FileName", "VoiceVote"} <= rows[0].keys():
        raise CorpusError(f"{tables[0]} has no columns FileName and VoiceVote. {CremaD.access}")
    return {row["FileName"]: "tie" if ":" in row["VoiceVote"] else row["VoiceVote"] for row in rows}
