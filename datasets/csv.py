"""csv, a corpus of your own: a table of audio files with a label and a speaker each, as `--dataset csv --data my.csv`.

The table is UTF-8 with commas and a header. Columns: path (wav, flac, mp3, ogg or opus; relative to the table's
folder), label, speaker; and where known session, text (what two utterances of the same words share), transcript, gender
(female, male), style (each one is a subset to run on) and partition (train, val, test: your own split, which is then
the default protocol). Every label is a class. Several channels are averaged. Rows go to `leaderboards/csv-my.csv`.

    path,label,speaker
    recordings/anna_001.wav,angry,anna
    recordings/anna_002.wav,neutral,anna
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import AUDIO, Corpus, LabelSet, Utterance
from sertbench.corpus_files import expanded
from sertbench.errors import CorpusError, counted, few, unknown
from sertbench.exclusions import excused, name_from
from sertbench.protocol_rules import OfficialSplit, SpeakerFolds
from sertbench.protocols import ROLES
from sertbench.spelling import Spellings

NEEDED = ("path", "label", "speaker")
OPTIONAL = ("session", "text", "transcript", "gender", "style", "partition")
NAMES = {"label": "classes", "speaker": "people", "session": "sessions", "text": "texts", "style": "styles"}
WORDS = {"gender": ("female", "male"), "partition": ROLES}  # what a column may say, besides nothing
LABELS = {label: label for label in ("neutral", "happy", "sad", "angry")}  # stand for a table's until there is one
SPEAKERS = SpeakerFolds(
    "speaker-folds",
    version=1,
    groups=5,
    summary="5 folds of whole speakers (fewer if there are fewer), alike in size; the next group validates",
)
PARTITION = OfficialSplit(
    "partition",
    version=1,
    summary="the split of the column `partition`, if the table has it; speakers may not be shared",
    promises={"speaker": "all"},
)


class Csv(Corpus):
    """csv: utterances of your own, listed in a table with the columns path, label and speaker."""

    citation = "none: data of the user's own"
    licence = "the user's own"
    access = "Write the table yourself: one line per audio file, with the columns path, label and speaker."
    language = "any"
    layout = f"a table (CSV) with the columns {', '.join(NEEDED)} and, where known, {', '.join(OPTIONAL)}"
    labels = LABELS
    label_sets = (LabelSet("all", LABELS, note="all labels of the table"),)
    protocols = (SPEAKERS, PARTITION)
    channel = "mean"
    tabular = True

    def at(self, root: Path) -> Corpus:
        """The corpus of the table `root`: its labels, its styles as subsets, and the protocols that it allows."""
        found = [u for u in self.utterances(root) if not excused(u.id)]  # a class that is left out whole is none
        labels = sorted({u.label for u in found})
        if not labels:
            raise CorpusError(f"{root}: every line is left out by --accept-missing. Nothing is left to run on.")
        if len(labels) < 2:
            raise CorpusError(f"{root}: every label is {labels[0]!r}. Classification needs two labels at least.")
        facts = {
            "title": self.title_of(root),
            "labels": {label: label for label in labels},
            "label_sets": (LabelSet("all", {label: label for label in labels}),),
            "protocols": (PARTITION, SPEAKERS) if found[0].partition else (SPEAKERS,),
            "subsets": tuple(sorted({u.style for u in found if u.style})),
        }
        made: Corpus = type("Csv", (type(self),), {"__doc__": self.__doc__, **facts})()
        return made

    def title_of(self, root: Path) -> str:
        """csv-NAME, of the table's own name."""
        return "csv-" + re.sub(r"[^\w.-]+", "-", root.stem)

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield one utterance per line; its id is the path from the table's folder."""
        lines: dict[str, int] = {}
        absent, spellings = [], Spellings()
        for number, row in rows(root):
            where = f"{root}, line {number}"
            path = root.parent / expanded(row["path"], where)
            if path.suffix.lower() not in AUDIO:
                raise CorpusError(f"{where}: {row['path']!r} is no audio file; accepted: {', '.join(AUDIO)}")
            id_ = name_from(path, root.parent)
            if id_ in lines:
                raise CorpusError(f"{where}: {row['path']!r} is there already, in line {lines[id_]}. Keep one of them.")
            lines[id_] = number
            for column in NAMES:
                if row.get(column):
                    spellings.note(column, row[column], number)
            if path.is_dir():
                raise CorpusError(
                    f"{where}: {row['path']!r} is a folder, not an audio file. Name the file that is meant."
                )
            if not path.is_file():
                if not excused(id_):
                    absent.append(f"{row['path']} (line {number})")
                continue
            more = {name: row.get(name) or None for name in OPTIONAL}
            yield Utterance(id_, path, row["label"], row["speaker"], **more)  # type: ignore[arg-type]  # all are str
        if absent:
            raise CorpusError(
                f"{root} names {counted(len(absent), 'file')} that cannot be found: {few(absent)}. Paths are relative "
                f"to the table's folder, {root.parent.resolve()}."
            )
        refuse_spellings(root, spellings)
        if not lines:
            raise CorpusError(f"{root} has no line below its header. Expected: {Csv.layout}")


def refuse_spellings(table: Path, spellings: Spellings) -> None:
    """Refuse names that a person reads as one and a program as two: half of a speaker would train, half would test."""
    if clashes := list(spellings.clashes()):
        column = clashes[0][0]
        example = "ann and ann2" if column == "speaker" else f"{column}1 and {column}2"
        raise CorpusError(
            f"{table}: {few([f'{name} {said}' for name, said in clashes], 4)} differ only in letter case, blanks or "
            f"code points. Write them alike; if they are two {NAMES[column]}, name them differently, e.g. {example}."
        )


def rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line of a table with its number in the file. Raises CorpusError for whatever is wrong with its form."""
    if not table.is_file():
        raise CorpusError(f"{table} is not a table. Expected: {Csv.layout}")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            check_columns(table, columns)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, checked(f"{table}, line {reader.line_num}", columns, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{table} cannot be read as a table: {error}. Expected: {Csv.layout}, in UTF-8") from error


def check_columns(table: Path, columns: list[str]) -> None:
    """Refuse a header that lacks a column, has one twice or has one that means nothing here."""
    known = (*NEEDED, *OPTIONAL)
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise CorpusError(f"{table}: columns must be separated by commas; the header is {columns[0]!r}")
    for name in columns:
        if name not in known:
            raise CorpusError(f"{table}: {unknown('column', name, known)}. Rename it, or leave it out.")
    if missing := [name for name in NEEDED if name not in columns]:
        raise CorpusError(f"{table} has no column {few(missing)}. Expected: {Csv.layout}")
    if len(set(columns)) < len(columns):
        raise CorpusError(f"{table}: a column is there twice in the header {', '.join(columns)}")


def checked(where: str, columns: list[str], cells: list[str]) -> dict[str, str]:
    """A line as column -> cell, without surrounding blanks."""
    if len(cells) != len(columns):
        raise CorpusError(
            f'{where}: {len(cells)} cells for {len(columns)} columns. A cell with a comma in it is put in "quotes".'
        )
    row = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    for name in (*NEEDED, *(("partition",) if "partition" in row else ())):
        if not row[name]:
            raise CorpusError(f"{where}: {name} is empty; every utterance needs one")
    for name, accepted in WORDS.items():
        if row.get(name) and row[name] not in accepted:
            raise CorpusError(f"{where}: {unknown(name, row[name], accepted)}")
    return row
