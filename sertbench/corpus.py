"""What a corpus is: utterances, label sets, published counts, and the manifest that a run is tied to (see `selection`).

An adapter (`datasets/<name>.py`) subclasses `Corpus`. It only reads names and annotation files: it never changes the
tree, never opens audio, and never drops anything silently. This module is light (no numpy, no torch), so that
`sertbench list datasets` answers at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sertbench.corpus_files import AUDIO as AUDIO  # adapters import all that they need from here
from sertbench.corpus_files import audio_files as audio_files
from sertbench.corpus_files import expanded
from sertbench.corpus_files import wav_files as wav_files
from sertbench.errors import ConfigError, CorpusError, PluginError, unknown
from sertbench.selection import select

if TYPE_CHECKING:
    from sertbench.protocols import Protocol


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled turn. Fields that a corpus does not know stay None; `label` is the corpus's own, in words."""

    id: str  #                        unique within the corpus, stable across machines
    path: Path  #                     the audio file
    label: str  #                     a value of the adapter's `labels`, before any label set is applied
    speaker: str  #                   who talks: never the dialogue or the recording view
    gender: str | None = None  #      "female" or "male"
    session: str | None = None  #     recording session; its speakers, room and dialogue are shared
    dialogue: str | None = None
    text: str | None = None  #        identity of the sentence or script; equal texts are equal ids
    transcript: str | None = None
    style: str | None = None  #       e.g. "improvised" or "scripted"
    recording: str | None = None  #   parent recording, where several utterances are cut from one file
    intensity: str | None = None
    partition: str | None = None  #   "train", "val" or "test" where the corpus publishes an official split
    language: str | None = None
    valence: float | None = None  #   mean of the raters, on the corpus's own scale
    arousal: float | None = None
    dominance: float | None = None
    annotated_seconds: float | None = None  # how long the annotation says that it is; no part of the manifest's hash


@dataclass(frozen=True)
class LabelSet:
    """A named choice of classes.

    `mapping` goes from corpus label to class. A corpus label that is missing here is left out of this label set on
    purpose. `counts` are the published numbers of utterances per class, `speakers` those per speaker, and
    `subset_counts` those per class within each subset; an empty mapping means that none are published.
    """

    name: str
    mapping: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    speakers: Mapping[str, int] = field(default_factory=dict)
    subset_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    note: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in their fixed order: the order in which `mapping` first names them."""
        return tuple(dict.fromkeys(self.mapping.values()))


@dataclass(frozen=True)
class Archive:
    """A zip or tar file that the publisher offers to all, for `sertbench download`. Write down nothing unverified.

    `checksum` is "md5:..." or "sha256:..." of the file. A host that packs its archives anew for everyone who asks gives
    other bytes each time: there it is "git:...", the id of the git tree that `inside` must unpack to.
    """

    url: str
    name: str  #            what the file is called here
    checksum: str
    size: int  #            bytes: of the file, or of what is in it where the checksum is a tree's
    inside: str = ""  #     the folder in it that is the corpus; empty: all of it
    nested: bool = False  # it holds archives that have to be unpacked as well
    packed: bool = True  #  False: a file that belongs to the corpus as it is
    lfs: str = ""  #        it holds git-lfs pointers, and below this address are the files that they stand for


class Corpus(ABC):
    """Base of every corpus adapter. Its card is the module's docstring; the class's first line says it in one."""

    citation: ClassVar[str]
    licence: ClassVar[str]
    access: ClassVar[str]  #                  where and how to get it, one or two sentences
    language: ClassVar[str]
    layout: ClassVar[str]  #                  what the data folder must contain, for the error message
    labels: ClassVar[Mapping[str, str]]  #    code in file names or annotations -> label in words
    label_sets: ClassVar[tuple[LabelSet, ...]]  # the first one is the default
    protocols: ClassVar[tuple[Protocol, ...]]  #  the first one is the default
    subsets: ClassVar[tuple[str, ...]] = ()  #    values of Utterance.style that can be run on their own
    channel: ClassVar[str] = "mono"  #        "mono": one channel expected; "left"/"right": take it; "mean": average
    synthetic: ClassVar[bool] = False  #      True: scores say nothing about people and are never ranked
    unranked: ClassVar[str] = ""  #           why rows on this corpus cannot be ranked; empty if they can
    tabular: ClassVar[bool] = False  #        True: --data is a table (a file), not a folder
    release: ClassVar[str] = "free"  #        "free" to all, after a "form", or on "request" to its owner
    archives: ClassVar[tuple[Archive, ...]] = ()  # what `sertbench download` gets; empty: only by hand
    n_speakers: ClassVar[int | None] = None  # where the default label set does not count them
    hours: ClassVar[float | None] = None  #   of the default label set, where published or counted
    known_duplicates: ClassVar[tuple[tuple[str, str], ...]] = ()  # pairs of ids published with the same audio
    known_silent: ClassVar[tuple[str, ...]] = ()  #                 ids published silent, or nearly so
    speaker_pool: ClassVar[str] = ""  #       the same word in corpora whose equal speaker ids are the same people
    title: ClassVar[str] = ""  #              what rows call the corpus; empty: the plug-in's name

    @abstractmethod
    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield every labelled utterance below `root`, whatever its label.

        Raises CorpusError for a tree that is not the published one (wrong layout, renamed files, an annotation without
        its audio), naming the files.
        """

    def prepare(self, cache: Path) -> Path | None:  # noqa: ARG002 - most corpora are the user's to get
        """Corpora that make their own data write it below `cache` and return its folder."""
        return None

    def ages(self, root: Path) -> Mapping[str, int]:  # noqa: ARG002 - most corpora do not tell
        """Years of each speaker at the recording, where they are published."""
        return {}

    def at(self, root: Path) -> Corpus:  # noqa: ARG002 - published corpora are the same wherever they lie
        """The corpus as it lies at `root`: itself, unless its label sets and protocols are told by the data alone."""
        return self

    def title_of(self, root: Path) -> str:  # noqa: ARG002 - published corpora are called the same wherever they lie
        """What rows call the corpus at `root`, told without reading it; empty: the plug-in's name."""
        return self.title

    def home(self, root: Path) -> Path:
        """The folder that paths of the corpus are told from."""
        return root.parent if self.tabular else root

    def expected_ids(self) -> frozenset[str]:
        """All published utterance ids, where they can be told; empty if not. Lets an error name what is missing."""
        return frozenset()

    @classmethod
    def label_of(cls, code: str, where: object) -> str:
        """The label in words for a code in a file name or annotation; CorpusError for a code that is not in the map."""
        try:
            return cls.labels[code]
        except KeyError:
            accepted = ", ".join(f"{code} ({label})" for code, label in cls.labels.items())
            raise CorpusError(f"{where}: unknown label code {code!r}. Known codes: {accepted}") from None

    @classmethod
    def label_set(cls, name: str | None) -> LabelSet:
        """The label set called `name`; the default one for None."""
        if not cls.label_sets:
            raise PluginError(
                f"{cls.__name__}.label_sets is empty: give at least one LabelSet; the first is the default"
            )
        if name is None:
            return cls.label_sets[0]
        for label_set in cls.label_sets:
            if label_set.name == name:
                return label_set
        raise ConfigError(unknown("label set", name, (s.name for s in cls.label_sets)))


@dataclass(frozen=True)
class Manifest:
    """The utterances that one run is about, with their classes and what their audio is.

    Utterances are sorted by id. `targets[i]` indexes `classes`; `audio_sha256[i]` is the hash of the decoded samples
    (see `audio.probe`), `seconds[i]` their duration. Two manifests with the same `sha256` give the same folds,
    features and scores, wherever the files lie.
    """

    corpus: str
    label_set: str
    subset: str  # "all" or one of the corpus's subsets
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    targets: tuple[int, ...]
    audio_sha256: tuple[str, ...]
    seconds: tuple[float, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of everything but the paths, and what `sertbench audit` alone reads."""
        names = [f.name for f in fields(Utterance) if f.name not in ("path", "annotated_seconds")]
        rows = [
            [[getattr(u, name) for name in names], target, audio]
            for u, target, audio in zip(self.utterances, self.targets, self.audio_sha256, strict=True)
        ]
        head = [self.corpus, self.label_set, self.subset, list(self.classes)]
        return hashlib.sha256(json.dumps([head, rows], ensure_ascii=True).encode()).hexdigest()

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each utterance id."""
        return {u.id: i for i, u in enumerate(self.utterances)}

    def __len__(self) -> int:
        return len(self.utterances)


def locate(name: str, corpus: Corpus, data: Path | None, cache: Path, option: str = "--data PATH") -> Path:
    """The corpus's folder: `data` (--data), else $SERTBENCH_DATA/<name>, else what the corpus itself makes in `cache`.

    `option` is what to type where it is not found. Raises CorpusError if that is no folder with something in it (for a
    tabular corpus: no file), or if there is none: with how to get the corpus.
    """
    if data is not None:
        return _filled(expanded(data, "--data"), name, corpus, "--data")
    if shelf := os.environ.get("SERTBENCH_DATA"):
        folder = expanded(shelf, "$SERTBENCH_DATA") / name
        if folder.exists():
            return _filled(folder, name, corpus, "$SERTBENCH_DATA")
    if made := corpus.prepare(cache):
        return made
    offer = f"`sertbench download {name}`, or by hand: " if corpus.archives else ""
    tried = f" {Path(shelf) / name} does not exist." if shelf else ""
    raise CorpusError(
        f"where is {name}?{tried} Type `{option}`, or `export SERTBENCH_DATA=PARENT` with it in PARENT/{name}.\n"
        f"  to get it: {offer}{corpus.access}\n  licence: {corpus.licence}\n  must contain: {corpus.layout}"
    )


def _filled(folder: Path, name: str, corpus: Corpus, source: str) -> Path:
    if not folder.exists():
        fault = "does not exist"
    elif corpus.tabular:
        if folder.is_file():
            return folder
        fault = f"is {'a folder' if folder.is_dir() else 'no file'}, not a table"
    elif not folder.is_dir():
        fault = "is a file, not a folder"
    elif not any(folder.iterdir()):
        fault = "is empty"
    else:
        return folder
    raise CorpusError(f"{folder} ({source}) {fault}. For {name} it must contain: {corpus.layout}. {corpus.access}")


def build_manifest(
    name: str,
    corpus: Corpus,
    root: Path,
    label_set: LabelSet,
    subset: str = "all",
    cache: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
    excluded: Collection[str] = (),
) -> Manifest:
    """Select the utterances and probe their audio; hashes, durations and courses are kept in `cache` (a folder).

    Raises CorpusError as `select` does, and AudioError for files that cannot be used.
    """
    from sertbench import audio, course_shelf  # decoding needs numpy; listing corpora does not

    chosen = select(corpus, name, root, label_set, subset, excluded)
    index = cache / "audio-index" / f"{name}.json" if cache else None
    with course_shelf.Shelf(cache) as shelf:
        infos = audio.probe_all([u.path for u in chosen], corpus.channel, index, on_progress, shelf.add)
    return Manifest(
        corpus=name,
        label_set=label_set.name,
        subset=subset,
        classes=label_set.classes,
        utterances=tuple(chosen),
        targets=tuple(label_set.classes.index(label_set.mapping[u.label]) for u in chosen),
        audio_sha256=tuple(info.sha256 for info in infos),
        seconds=tuple(info.seconds for info in infos),
    )
