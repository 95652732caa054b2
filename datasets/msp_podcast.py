"""MSP-Podcast: turns of podcasts, some 2000 talkers, English; 151,654 turns in release 1.11, 207,136 in 1.12.

Natural speech, found by machine and labelled by at least five crowd workers: the label is their plurality, and X where
they do not agree. 238 h and 324 h, 16 kHz mono but for MSP-PODCAST_1023_0235 (stereo, 44.1 kHz). Releases are not
comparable: each has tables of its own. The turns of Test3 have no public labels and are not used.

The published split keeps known talkers apart, but Test1 and Test2 share some, and some talkers of the training part are
not known: they could be anybody. Test1 and Test2 are tested together; a row gives the UAR of each as its style. Older
releases spell the table `labels_concensus.csv` and the part `Validation` instead of `Development`: both are read.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError, few, unknown
from sertbench.exclusions import excused
from sertbench.protocol_rules import OfficialSplit

LABELS = {
    "N": "neutral",
    "H": "happy",
    "A": "angry",
    "S": "sad",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "U": "surprise",
    "O": "other",
    "X": "no agreement",
}
EIGHT = ("neutral", "happy", "sad", "angry", "fear", "disgust", "contempt", "surprise")
PARTS = {"Train": "train", "Development": "val", "Validation": "val", "Test1": "test", "Test2": "test"}
HIDDEN = "Test3"
GENDERS = {"Female": "female", "Male": "male"}  # anything else is not known
TABLES = ("labels_consensus.csv", "labels_concensus.csv")
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
FILES = {"1.11": 151_654, "1.12": 207_136}  # release -> audio files
TURNS = {"1.11": {"train": 84_030, "val": 19_815, "test1": 30_647, "test2": 14_815}}  # labelled; of 1.12 not published
NAME = re.compile(r"MSP-PODCAST_(?P<podcast>\d+)_\w+\.wav")


class MspPodcast(Corpus):
    """MSP-Podcast: 151,654 (release 1.11) or 207,136 (1.12) English turns of podcasts, 8 emotions; official split."""

    citation = (
        "R. Lotfian, C. Busso: Building naturalistic emotionally balanced speech corpus by retrieving emotional speech "
        "from existing podcast recordings. IEEE Transactions on Affective Computing 10(4), 471-483, 2019"
    )
    licence = "signed licence (University of Texas at Dallas); no redistribution"
    access = "Ask the MSP lab at https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html"
    language = "English"
    release = "request"
    layout = (
        "Labels/labels_consensus.csv, Audios with files such as MSP-PODCAST_0001_0008.wav, and the readme.txt and "
        "Partition.txt of the release"
    )
    labels = LABELS
    label_sets = (
        LabelSet("8class", {label: label for label in EIGHT}, note="without `other` and turns without agreement"),
        LabelSet("4class", {label: label for label in EIGHT[:4]}, note="the classes of the common IEMOCAP task"),
    )
    protocols = (
        OfficialSplit(
            "official",
            version=1,
            summary="the published split: train, development, and Test1 and Test2 together",
        ),
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield every turn whose label is public."""
        home, table = find_table(root)
        rows = {row["FileName"]: row for row in read_rows(table) if row["Split_Set"] != HIDDEN}
        files: dict[str, list[Path]] = {}
        for path in wav_files(home / "Audios"):  # files of older releases lie beside it
            files.setdefault(path.name, []).append(path)
        left_out = {name for name in rows if name not in files and excused(Path(name).stem)}
        check_release(home, rows, files.keys() | left_out)
        unheard = [name for name in rows if name not in files and name not in left_out]
        unlabelled = sorted(files.keys() - rows.keys() - hidden_names(home))
        if unheard or unlabelled:
            faults = [f"{len(unheard)} labelled turns have no wav file: {few(unheard)}"] if unheard else []
            faults += [f"{len(unlabelled)} wav files have no label: {few(unlabelled)}"] if unlabelled else []
            raise CorpusError(f"{root} is not the published msp_podcast. {'; '.join(faults)}. {self.access}")
        for name, row in rows.items():
            for path in files.get(name, ()):
                yield self.utterance(row, path)

    def utterance(self, row: dict[str, str], path: Path) -> Utterance:
        """One turn from its row."""
        name = NAME.fullmatch(path.name)
        if not name:
            raise CorpusError(f"{path} is not named like a file of MSP-Podcast. Expected: {self.layout}")
        partition = PARTS[row["Split_Set"]]
        return Utterance(
            id=path.stem,
            path=path,
            label=self.label_of(row["EmoClass"], path.name),
            speaker=row["SpkrID"].strip().lower(),  # "unknown" where it is
            gender=GENDERS.get(row["Gender"]),
            session=name["podcast"],
            style=row["Split_Set"].lower() if partition == "test" else None,
            partition=partition,
            language="en",
            valence=float(row["EmoVal"]),
            arousal=float(row["EmoAct"]),
            dominance=float(row["EmoDom"]),
        )


def find_table(root: Path) -> tuple[Path, Path]:
    """The release's folder, which is `root` or a folder in it, and its table of labels."""
    for home in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for name in TABLES:
            if (home / "Labels" / name).is_file():
                return home, home / "Labels" / name
    raise CorpusError(f"{root} has no Labels/{TABLES[0]}. Expected: {MspPodcast.layout}")


def read_rows(table: Path) -> Iterator[dict[str, str]]:
    """The rows of the table. Raises CorpusError for columns or parts that no known release has."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise CorpusError(f"{table} has no column {few(missing)}. {MspPodcast.access}")
        for row in reader:
            if row["Split_Set"] not in (*PARTS, HIDDEN):
                raise CorpusError(f"{table}, {row['FileName']}: {unknown('part', row['Split_Set'], (*PARTS, HIDDEN))}")
            yield row


def check_release(home: Path, rows: dict[str, dict[str, str]], files: Collection[str]) -> None:
    """Compare a release whose counts are known with them; the readme says which release it is."""
    readme = home / "readme.txt"
    told = re.search(r"Release (\d+\.\d+)", readme.read_text(errors="replace")) if readme.is_file() else None
    release = told[1] if told else ""
    if release in FILES and len(files) != FILES[release]:
        raise CorpusError(
            f"{home}: release {release} has {FILES[release]} audio files, here are {len(files)}. {MspPodcast.access}"
        )
    parts = Counter(PARTS[s] if PARTS[s] != "test" else s.lower() for s in (row["Split_Set"] for row in rows.values()))
    if wrong := [f"{p}: {parts[p]} instead of {n}" for p, n in TURNS.get(release, {}).items() if parts[p] != n]:
        raise CorpusError(f"{home}, release {release}: {few(wrong)} labelled turns. {MspPodcast.access}")


def hidden_names(home: Path) -> set[str]:
    """The files of Test3, which have no public label; named in Partition.txt (in older releases Partitions.txt)."""
    lines = (line for path in home.glob("Partition*.txt") for line in path.read_text(errors="replace").splitlines())
    return {name[0] for line in lines if HIDDEN in line and (name := NAME.search(line))}
