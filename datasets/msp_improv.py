"""MSP-IMPROV (2017): 8438 turns, 12 actors, English; 7798 in the usual four classes.

Six sessions of a woman and a man. Scenarios are written so that one actor comes to say a given sentence in a given
emotion: 20 sentences, 4 emotions. There are the sentences themselves, improvised (652 turns) and read by eight of the
actors (620), the other improvised turns around them (4381), and what the actors said between the scenes (2785). Labels
are perceived: the plurality of at least five crowd workers; 555 turns have none. The sentences are the same in every
session, and natural turns are hardly ever angry or sad: kind and emotion go together. Arousal is kept as it is rated,
from 1 (excited) to 5 (calm).

A turn is `MSP-IMPROV-S01A-F01-P-FM01`: sentence 01 meant as A (angry), TALKER F01 (the woman of session 1), kind P
(natural, between scenes), S (improvised), T (improvised target sentence) or R (read), then roles and number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError, few
from sertbench.exclusions import excused
from sertbench.protocols import GroupFolds

LABELS = {"A": "angry", "S": "sad", "H": "happy", "N": "neutral", "O": "other", "X": "no agreement"}
FOUR = ("neutral", "happy", "sad", "angry")
STYLES = {"S": "improvised", "P": "natural", "T": "target", "R": "read"}
COUNTS = {  # table 4 of the paper
    "improvised": {"neutral": 1789, "happy": 1048, "sad": 633, "angry": 470, "other": 70, "no agreement": 371},
    "natural": {"neutral": 1164, "happy": 1372, "sad": 66, "angry": 38, "other": 11, "no agreement": 134},
    "target": {"neutral": 283, "happy": 136, "sad": 106, "angry": 115, "other": 1, "no agreement": 11},
    "read": {"neutral": 241, "happy": 88, "sad": 80, "angry": 169, "other": 3, "no agreement": 39},
}
SESSIONS = ("1", "2", "3", "4", "5", "6")
TURN = re.compile(
    r"S(?P<sentence>\d\d)(?P<meant>[AHNS])-(?P<talker>[FM]0(?P<session>[1-6]))-(?P<kind>[PRST])-[FM]{2}\d{2,3}"
)
NUMBER = r"(\d+(?:\.\d+)?|NaN)"
LINE = re.compile(rf"UTD-IMPROV-(\S+)\.avi;\s*(\w);\s*A:{NUMBER}\s*;\s*V:{NUMBER}\s*;\s*D:{NUMBER}\s*;.*")
TABLES = ("Evalution.txt", "Evaluation.txt")  # the first is how the release spells it


class MspImprov(Corpus):
    """MSP-IMPROV: 8438 English turns of 12 actors, improvised, read and natural; 7798 in the usual 4 classes."""

    citation = (
        "C. Busso, S. Parthasarathy, A. Burmania, M. AbdelWahab, N. Sadoughi, E. Mower Provost: MSP-IMPROV: an acted "
        "corpus of dyadic interactions to study emotion perception. IEEE Transactions on Affective Computing 8(1), "
        "67-80, 2017"
    )
    licence = "signed licence (University of Texas at Dallas); academic research; no redistribution"
    access = "Ask the MSP lab at https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html"
    language = "English"
    release = "request"
    n_speakers = 12
    layout = "Evalution.txt (or Evaluation.txt), and wav files such as session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "4class",
            {label: label for label in FOUR},
            counts={label: sum(counts[label] for counts in COUNTS.values()) for label in FOUR},
            subset_counts={style: {label: counts[label] for label in FOUR} for style, counts in COUNTS.items()},
            note="without `other` and turns without agreement",
        ),
    )
    protocols = (
        GroupFolds(
            "session6",
            version=1,
            key="session",
            groups={session: (session,) for session in SESSIONS},
            summary="6 folds of one session (both of its actors); the next session validates",
        ),
    )
    subsets = tuple(COUNTS)

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield every labelled turn."""
        lines = ratings(root)
        wavs: dict[str, list[Path]] = {}
        for path in wav_files(root):
            wavs.setdefault(path.stem.removeprefix("MSP-IMPROV-"), []).append(path)
        unheard = [turn for turn in lines if turn not in wavs and not excused(f"MSP-IMPROV-{turn}")]
        unlabelled = [paths[0] for turn, paths in wavs.items() if turn not in lines]
        if unheard or unlabelled:
            faults = [f"{len(unheard)} labelled turns have no wav file: {few(unheard)}"] if unheard else []
            faults += [f"{len(unlabelled)} wav files have no label: {few(unlabelled)}"] if unlabelled else []
            raise CorpusError(f"{root} is not the published msp_improv. {'; '.join(faults)}. {self.access}")
        for turn, line in lines.items():
            for path in wavs.get(turn, ()):
                yield self.utterance(turn, line, path)

    def utterance(self, turn: str, line: re.Match[str], path: Path) -> Utterance:
        """One turn from its name and its line."""
        name = TURN.fullmatch(turn)
        if not name:
            raise CorpusError(f"{path}: {turn!r} is not a turn of MSP-IMPROV, such as S01A-F01-P-FM01")
        # A target sentence is one text however it is meant; other improvised turns share no more than their scenario.
        texts = {"T": name["sentence"], "R": name["sentence"], "S": f"scenario {name['sentence']}{name['meant']}"}
        return Utterance(
            id=f"MSP-IMPROV-{turn}",
            path=path,
            label=self.label_of(line[2], f"{turn} in {TABLES[0]}"),
            speaker=name["talker"],
            gender="female" if name["talker"].startswith("F") else "male",
            session=name["session"],
            dialogue=f"{name['session']}-S{name['sentence']}{name['meant']}",
            text=texts.get(name["kind"]),
            style=STYLES[name["kind"]],
            language="en",
            arousal=mean(line[3]),
            valence=mean(line[4]),
            dominance=mean(line[5]),
        )


def ratings(root: Path) -> dict[str, re.Match[str]]:
    """The consensus line of each turn; the raters' own lines below it are not read."""
    tables = [path for name in TABLES for path in sorted(root.rglob(name))]
    if not tables:
        raise CorpusError(f"{root} has no {' or '.join(TABLES)}. Expected: {MspImprov.layout}")
    lines = {}
    for line in tables[0].read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("UTD-IMPROV-"):
            parts = LINE.fullmatch(line.rstrip())
            if not parts:
                raise CorpusError(f"{tables[0]}: cannot read the line {line!r}. {MspImprov.access}")
            lines[parts[1]] = parts
    return lines


def mean(figure: str) -> float | None:
    """A mean rating; None for one that nobody gave, which stands as NaN."""
    value = float(figure)
    return None if math.isnan(value) else value
