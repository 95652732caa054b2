"""IEMOCAP, the interactive emotional dyadic motion capture database (2008): 10,039 turns, 10 actors, English.

Five sessions, each with a woman and a man who improvise eight scenarios and play three scripts; about 12 h, of which
the usual four classes are 5531 turns and 7.0 h; 16 kHz mono. At least three raters label each turn; the label is their
majority, and 2507 turns have none. The scripts are the same in every session: session folds share their texts.

A turn is `Ses01F_impro01_M012`: session 1, dialogue seen from the woman's side (F), scenario, and the TALKER, who is
the letter of the last group. The dialogue's letter says nothing about who talks: it agrees for half of the turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance
from sertbench.errors import CorpusError, counted, few
from sertbench.exclusions import excused
from sertbench.exclusions import visible as visible_files
from sertbench.protocol_rules import RANDOM10, BlockFolds, PartnerFolds, RandomFolds, SharedValidation
from sertbench.protocols import GroupFolds

LABELS = {
    "ang": "angry",
    "hap": "happy",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "exc": "excited",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
    "xxx": "no agreement",
}
SESSIONS = ("1", "2", "3", "4", "5")
TALKERS = ("1F", "1M", "2F", "2M", "3F", "3M", "4F", "4M", "5F", "5M")
SCRIPTS = {"script01": "123", "script02": "12", "script03": "12"}  # script -> its scenes
TURN = re.compile(
    r"(?P<dialogue>Ses0(?P<session>[1-5])[FM]_(?P<text>(?P<style>impro|script)\w+?)[ab]?)_(?P<talker>[FM])\d{3}"
)
CONSENSUS = re.compile(
    r"\[(?P<start>\d+\.\d+) - (?P<end>\d+\.\d+)\]\t(?P<turn>\w+)\t(?P<code>\w+)\t"
    r"\[(?P<valence>\d+\.\d+), (?P<arousal>\d+\.\d+), (?P<dominance>\d+\.\d+)\]"
)
AGAIN = "Unpack IEMOCAP_full_release again from the original archive."
BASE = {"neutral": "neutral", "happy": "happy", "sad": "sad", "angry": "angry"}
EXCITED = {"neutral": "neutral", "excited": "happy", "sad": "sad", "angry": "angry"}
MERGED = {"neutral": "neutral", "happy": "happy", "excited": "happy", "sad": "sad", "angry": "angry"}


def four_classes(name: str, mapping: dict[str, str], happy: tuple[int, int], speakers: str, note: str) -> LabelSet:
    """A four-class set; they differ in what counts as happy: `happy` improvised and scripted turns."""
    improvised = {"neutral": 1099, "happy": happy[0], "sad": 608, "angry": 289}
    scripted = {"neutral": 609, "happy": happy[1], "sad": 476, "angry": 814}
    return LabelSet(
        name,
        mapping,
        counts={c: improvised[c] + scripted[c] for c in improvised},
        speakers=dict(zip(TALKERS, map(int, speakers.split()), strict=True)),
        subset_counts={"improvised": improvised, "scripted": scripted},
        note=note,
    )


class Iemocap(Corpus):
    """IEMOCAP: 10,039 English turns of 10 actors, improvised and scripted; 5531 in the usual 4 classes."""

    citation = (
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan: "
        "IEMOCAP: interactive emotional dyadic motion capture database. "
        "Language Resources and Evaluation 42(4), 335-359, 2008"
    )
    licence = "signed licence (University of Southern California); academic research; no redistribution"
    access = "Ask USC SAIL at https://sail.usc.edu/iemocap/iemocap_release.htm and unpack IEMOCAP_full_release."
    language = "English"
    release = "request"
    hours = 6.99
    layout = (
        "Session1 to Session5, each with sentences/wav/<dialogue>/<turn>.wav and dialog/EmoEvaluation/<dialogue>.txt"
    )
    labels = LABELS
    label_sets = (
        four_classes(
            "4class", MERGED, (947, 689), "528 557 481 542 522 629 528 503 590 651", "excited counts as happy"
        ),
        four_classes("4class-haponly", BASE, (284, 311), "465 477 385 428 474 526 374 419 508 434", "without excited"),
        four_classes(
            "4class-exconly",
            EXCITED,
            (663, 378),
            "459 491 411 495 442 574 497 469 513 585",
            "excited instead of happy, as in GLAM's and AACNN's code",
        ),
        LabelSet(
            "5class",
            {**MERGED, "frustrated": "frustrated"},
            counts={"neutral": 1708, "happy": 1636, "sad": 1084, "angry": 1103, "frustrated": 1849},
        ),
        LabelSet(
            "6class",
            {label: label for label in ("neutral", "happy", "excited", "sad", "angry", "frustrated")},
            counts={"neutral": 1708, "happy": 595, "excited": 1041, "sad": 1084, "angry": 1103, "frustrated": 1849},
        ),
    )
    protocols = (
        GroupFolds(
            "session5",
            version=1,
            key="session",
            groups={session: (session,) for session in SESSIONS},
            summary="5 folds of one session (both of its speakers); the next session validates",
        ),
        GroupFolds(
            "session5-refit",
            version=1,
            key="session",
            groups={session: (session,) for session in SESSIONS},
            summary="session5, then fitted anew on all four other sessions for the epochs that validation chose",
            refit=True,
        ),
        SharedValidation(
            "session5-sharedval",
            version=1,
            key="session",
            groups={session: (session,) for session in SESSIONS},
            summary="as SUPERB and EmoBox: 5 folds of one session; a random 20 % of the other four validates",
        ),
        PartnerFolds(
            "speaker10-compat",
            version=1,
            pairs=tuple(zip(TALKERS[::2], TALKERS[1::2], strict=True)),
            summary="as in many papers: 10 folds of one speaker; the other one of the session validates",
        ),
        BlockFolds(
            "script-disjoint",
            version=1,
            key="session",
            groups={session: (session,) for session in SESSIONS},
            texts={script: tuple(f"{script}_{n}" for n in parts) for script, parts in SCRIPTS.items()},
            summary="15 folds: a session's turns of one script, held out of the other sessions; the next one validates",
            shared_texts=True,
            untested=tuple(f"impro0{n}" for n in range(1, 9)),
        ),
        RandomFolds(
            "random80-20",
            version=1,
            test_tenths=2,
            n_folds=1,
            summary="speaker-dependent, never ranked: a random 20 % is tested, 10 % out of the other 80 % validates",
        ),
        RandomFolds(
            "random811",
            version=1,
            test_tenths=1,
            n_folds=1,
            summary="speaker-dependent, never ranked: a random 10 % is tested, 10 % validates, 80 % trains",
        ),
        RANDOM10,
    )
    subsets = ("improvised", "scripted")

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield every turn that has a consensus line, majority or not; the raters' own files are not read."""
        unheard, unlabelled = [], []
        for folder in session_folders(root):
            wavs = turn_files(folder)
            lines = consensus(folder)
            said = transcripts(folder)
            unheard += [turn for turn in lines if turn not in wavs and not excused(turn)]
            unlabelled += [wavs[turn] for turn in wavs if turn not in lines and not excused(turn)]
            for turn in lines.keys() & wavs.keys():
                yield self.utterance(turn, wavs[turn], lines[turn], said.get(turn))
        if unheard or unlabelled:
            faults = [f"{len(unheard)} labelled turns have no wav file: {few(unheard)}"] if unheard else []
            faults += [f"{len(unlabelled)} wav files have no label: {few(unlabelled)}"] if unlabelled else []
            raise CorpusError(f"{root} is not the published iemocap. {'; '.join(faults)}. {AGAIN}")

    def utterance(self, turn: str, path: Path, line: re.Match[str], transcript: str | None) -> Utterance:
        """One turn from its name and its consensus line."""
        name = TURN.fullmatch(turn)
        if not name:
            raise CorpusError(f"{path}: {turn!r} is not a turn of IEMOCAP, such as Ses01F_impro01_M012")
        return Utterance(
            id=turn,
            path=path,
            label=self.label_of(line["code"], path),
            speaker=name["session"] + name["talker"],
            gender="female" if name["talker"] == "F" else "male",
            session=name["session"],
            dialogue=name["dialogue"],
            text=name["text"],  # without the a, b of a scene recorded in parts or anew
            transcript=transcript,
            style="improvised" if name["style"] == "impro" else "scripted",
            language="en",
            valence=float(line["valence"]),
            arousal=float(line["arousal"]),
            dominance=float(line["dominance"]),
            annotated_seconds=float(line["end"]) - float(line["start"]),
        )


def session_folders(root: Path) -> list[Path]:
    """The five session folders, in `root` or in one folder of it, such as IEMOCAP_full_release."""
    for parent in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        folders = [parent / f"Session{n}" for n in SESSIONS]
        absent = [folder.name for folder in folders if not folder.is_dir()]
        if len(absent) == len(folders):
            continue
        if absent:
            raise CorpusError(f"{parent} has no {few(absent)}. {AGAIN}")
        return folders
    raise CorpusError(f"{root} does not look like IEMOCAP. Expected: {Iemocap.layout}")


def turn_files(session: Path) -> dict[str, Path]:
    """The wav file of each turn, without the `._` twins that macOS archives add."""
    paths = (path for path in session.glob("sentences/wav/*/*.wav") if not path.name.startswith("."))
    wavs = {path.stem: path for path in visible_files(paths)}
    renamed = sorted(name for name in wavs if "-" in name)
    if renamed:
        raise CorpusError(
            f"{session}: {counted(len(renamed), 'file')} renamed, as the preparation scripts of GLAM and AACNN do: "
            f"{few(renamed, 3)}. {AGAIN}"
        )
    return wavs


def consensus(session: Path) -> dict[str, re.Match[str]]:
    """The consensus line of each turn: majority label and mean valence, activation (arousal) and dominance."""
    lines = {}
    for path in visible(session / "dialog" / "EmoEvaluation"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("["):
                parts = CONSENSUS.fullmatch(line.rstrip())
                if not parts:
                    raise CorpusError(f"{path}: cannot read the line {line!r}. {AGAIN}")
                if parts["turn"] in lines:
                    raise CorpusError(
                        f"{path}: {parts['turn']} has a label already, in a line above or file before. {AGAIN}"
                    )
                lines[parts["turn"]] = parts
    return lines


def transcripts(session: Path) -> dict[str, str]:
    """What was said in each turn, where the transcriptions are there."""
    said = {}
    for path in visible(session / "dialog" / "transcriptions"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            head, mark, words = line.partition("]:")
            if mark and head.startswith("Ses"):
                said[head.split()[0]] = words.strip()
    return said


def visible(folder: Path) -> list[Path]:
    """The text files of a folder itself, without the `._` twins."""
    return sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
