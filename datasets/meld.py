"""MELD, the multimodal EmotionLines dataset (2019): 13,708 turns of the series Friends, English; 13,706 have sound.

Acted television with a laugh track, cut by subtitles. Six leads speak five of six turns, the rest is by some 300 names,
of which a few, such as All or Man, are nobody in particular. The published split is of dialogues, not of speakers: 2501
of 2610 test turns are by talkers of the training part, and 331 test texts are there word for word. One rating per turn.
Names are taken as they stand: 32 turns are by people who also have another name (`Phoebe Sr.` and `Phoebe Sr`,
`Joey/Drake`, `Ross and Chandler`), so that the folds of speaker6 share their voices.

Published as video, as `dia0_utt0.mp4` in a folder per split, in which dialogues are numbered anew. train/dia125_utt3 is
broken and dev/dia110_utt7 absent: neither is used. Video without annotation (dev dia49_utt4 and others, and everything
called `final_videos_test...`) is not used either. Some cuts are wrong: test dia38_utt4 lasts 305 s, dia220_utt0 235 s.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, audio_files
from sertbench.errors import CorpusError, few
from sertbench.exclusions import excused
from sertbench.protocol_rules import OfficialSplit, SpeakerFolds

LABELS = {
    "neutral": "neutral",
    "joy": "happy",
    "surprise": "surprise",
    "anger": "angry",
    "sadness": "sad",
    "disgust": "disgust",
    "fear": "fear",
}
COUNTS = {"neutral": 6434, "happy": 2308, "surprise": 1636, "angry": 1607, "sad": 1002, "disgust": 361, "fear": 358}
ROWS = {"train": 9989, "dev": 1109, "test": 2610}
ROLES = {"train": "train", "dev": "val", "test": "test"}
SILENT = ("train_dia125_utt3", "dev_dia110_utt7")  # issues 39 and 22 of github.com/declare-lab/MELD; both neutral
LEADS = {
    **dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female"),
    **dict.fromkeys(("Chandler", "Joey", "Ross"), "male"),
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "Season", "Episode")
NAME = re.compile(r"dia\d+_utt\d+")
UNUSED = "final_videos_test"
EXTRACT = (
    "find {root} -name '*.mp4' ! -name '._*' -exec sh -c "
    '\'ffmpeg -nostdin -n -loglevel error -i "$1" -vn -ac 1 -ar 16000 "${{1%.mp4}}.wav"\' _ {{}} \\;'
)


class Meld(Corpus):
    """MELD: 13,706 English turns of the series Friends, 7 emotions; the official split shares its speakers."""

    citation = (
        "S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea: MELD: a multimodal multi-party dataset "
        "for emotion recognition in conversations. ACL 2019, 527-536"
    )
    licence = "GPL-3.0 (annotations and code); the episodes are their owner's"
    access = "Download http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz; unpack it and the archives in it."
    language = "English"
    archives = (
        Archive(
            "https://huggingface.co/datasets/declare-lab/MELD/resolve/9abc51ee7903424ffb971297608aa6d3d0de3bfa/"
            "MELD.Raw.tar.gz",
            "MELD.Raw.tar.gz",
            "sha256:a56b4407d574195cbce470d86f9c9d72fcfea59b0e34502ecd4babee4a5c613e",
            size=10_878_146_150,
            nested=True,
        ),
    )
    layout = (
        "train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv, and a folder each for train, dev and test with "
        "the sound of the videos, such as train/dia0_utt0.wav (or flac)"
    )
    labels = LABELS
    label_sets = (
        LabelSet("7class", {label: label for label in LABELS.values()}, counts=COUNTS),
        LabelSet(
            "4class",
            {label: label for label in ("neutral", "happy", "sad", "angry")},
            counts={label: COUNTS[label] for label in ("neutral", "happy", "sad", "angry")},
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        OfficialSplit(
            "official",
            version=1,
            summary="speaker-dependent, never ranked: the published split of dialogues; the leads are in all parts",
            promises={"dialogue": "all"},
        ),
        SpeakerFolds(
            "speaker6",
            version=1,
            groups=6,
            summary="6 folds of one lead and a sixth of the other talkers; the next validates; dialogues are shared",
        ),
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all turns but the two without sound."""
        tables = turns(root)
        sounds = turn_files(root)
        spoken = [(split, turn) for split, rows in tables.items() for turn in rows if turn not in SILENT]
        if missing := [turn for _, turn in spoken if turn not in sounds and not excused(turn)]:
            videos = audio_files(root, (".mp4",))
            command = EXTRACT.format(root=shlex.quote(str(root)))
            extract = (
                f" Extract the sound of the {len(videos)} videos (ffmpeg fails on one): {command}" if videos else ""
            )
            raise CorpusError(f"{root}: {len(missing)} turns of MELD have no audio file: {few(missing)}.{extract}")
        for split, turn in spoken:
            for path in sounds.get(turn, ()):
                yield self.utterance(split, turn, tables[split][turn], path)

    def utterance(self, split: str, turn: str, row: dict[str, str], path: Path) -> Utterance:
        """One turn from its annotation."""
        return Utterance(
            id=turn,
            path=path,
            label=self.label_of(row["Emotion"], f"{split}_sent_emo.csv, {turn}"),
            speaker=row["Speaker"],
            gender=LEADS.get(row["Speaker"]),
            session=f"s{int(row['Season']):02d}e{int(row['Episode']):02d}",
            dialogue=turn.rpartition("_")[0],
            text=row["Utterance"],
            transcript=row["Utterance"],
            partition=ROLES[split],
            language="en",
        )


def turns(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The published tables: split -> turn -> row."""
    tables = {path.name: path for path in sorted(root.rglob("*_sent_emo.csv"))}
    found = {}
    for split, published in ROWS.items():
        path = tables.get(f"{split}_sent_emo.csv")
        if not path:
            raise CorpusError(f"{root} has no {split}_sent_emo.csv. Expected: {Meld.layout}. {Meld.access}")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = list(csv.DictReader(file))
        if lines and not set(COLUMNS) <= set(lines[0]):
            raise CorpusError(f"{path} has the columns {few(lines[0], 20)}; expected at least {', '.join(COLUMNS)}")
        found[split] = {f"{split}_dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}": row for row in lines}
        if len(found[split]) != published:
            raise CorpusError(f"{path} annotates {len(found[split])} turns instead of {published}. {Meld.access}")
    return found


def turn_files(root: Path) -> dict[str, list[Path]]:
    """The audio files of each turn; the split is told by the innermost folder that is named after one."""
    found: dict[str, list[Path]] = {}
    for folder, paths in groupby(audio_files(root), lambda path: path.parent):
        above = reversed(folder.relative_to(root).parts)
        split = next((split for name in above for split in ROWS if split in name.lower()), None)
        for path in paths:
            if path.stem.startswith(UNUSED):
                continue
            if split is None or not NAME.fullmatch(path.stem):
                raise CorpusError(f"{path} is no turn of a split of MELD. Expected: {Meld.layout}")
            found.setdefault(f"{split}_{path.stem}", []).append(path)
    return found
