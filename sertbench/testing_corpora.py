"""Checks of corpus adapters that need no data: documentation, labels, label sets, protocols, an empty folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet
from sertbench.errors import CorpusError, PluginError, few
from sertbench.testing import Check

TEXTS = {
    "citation": "authors, title, venue and year of the corpus's paper",
    "licence": "the licence's name, or the terms in a few words",
    "access": "where and how to get the data, in one or two sentences",
    "language": 'e.g. "German"',
    "layout": "what the data folder must contain; it is shown when the folder is wrong",
}
CHANNELS = ("mono", "left", "right", "mean")
RELEASES = ("free", "form", "request")
CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")


def documented(cls: type[Corpus]) -> None:
    """A docstring, and the texts that a reader of a table needs."""
    if not (cls.__doc__ or "").strip() or cls.__doc__ == Corpus.__doc__:
        raise PluginError(f"{cls.__name__} has no docstring: its first line is what `sertbench download` shows")
    for name, what in TEXTS.items():
        text = getattr(cls, name, "")
        if not isinstance(text, str) or not text.strip():
            raise PluginError(f"{cls.__name__}.{name} is missing: set it to {what}")
    if cls.channel not in CHANNELS:
        raise PluginError(f"{cls.__name__}.channel = {cls.channel!r}: must be one of {', '.join(map(repr, CHANNELS))}")


def labels_are_words(cls: type[Corpus]) -> None:
    """`labels` maps codes to labels in words."""
    labels = getattr(cls, "labels", None)
    if not isinstance(labels, Mapping) or not labels:
        raise PluginError(f"{cls.__name__}.labels is missing: map each code of the corpus to its label in words")
    odd = [f"{code!r}: {label!r}" for code, label in labels.items() if not (isinstance(label, str) and label.strip())]
    if odd:
        raise PluginError(f"{cls.__name__}.labels has no words for {few(odd)}")


def label_sets_fit(cls: type[Corpus]) -> None:
    """Label sets are named once, map labels that exist, and their counts agree with themselves."""
    sets = getattr(cls, "label_sets", ())
    if not sets:
        raise PluginError(f"{cls.__name__}.label_sets is empty: give at least one LabelSet; the first is the default")
    names = [label_set.name for label_set in sets]
    if len(set(names)) < len(names):
        raise PluginError(f"{cls.__name__}.label_sets: two have the same name ({few(names)})")
    for label_set in sets:
        for fault in label_set_faults(cls, label_set):
            raise PluginError(f"{cls.__name__}, label set {label_set.name!r}: {fault}")


def label_set_faults(cls: type[Corpus], label_set: LabelSet) -> list[str]:
    """What is wrong with a label set, in words."""
    faults = []
    strangers = sorted(set(label_set.mapping) - set(cls.labels.values()))
    if strangers:
        faults.append(
            f"maps {few(strangers)}, which `labels` does not have: {few(sorted(set(cls.labels.values())), 20)}"
        )
    if len(label_set.classes) < 2:
        faults.append(f"has {len(label_set.classes)} class: classification needs two at least")
    published = {"counts": label_set.counts} | {
        f"subset_counts[{name!r}]": counts for name, counts in label_set.subset_counts.items()
    }
    for where, counts in published.items():
        if counts and set(counts) != set(label_set.classes):
            faults.append(f"{where} names {few(sorted(counts))}, but the classes are {few(label_set.classes, 20)}")
    total = sum(label_set.counts.values())
    spoken = sum(label_set.speakers.values())
    if label_set.counts and label_set.speakers and total != spoken:
        faults.append(f"counts sum to {total}, speakers to {spoken}: one of them is wrong")
    unknown = sorted(set(label_set.subset_counts) - set(cls.subsets))
    if unknown:
        faults.append(f"subset_counts names {few(unknown)}, but `subsets` is {cls.subsets}")
    if label_set.counts and set(label_set.subset_counts) == set(cls.subsets) != set():
        parts = sum(sum(counts.values()) for counts in label_set.subset_counts.values())
        if parts != total:
            faults.append(f"subset_counts sum to {parts}, counts to {total}: one of them is wrong")
    return faults


def protocols_named(cls: type[Corpus]) -> None:
    """At least one protocol, each with a name of its own, a version and a summary."""
    protocols = getattr(cls, "protocols", ())
    if not protocols:
        raise PluginError(f"{cls.__name__}.protocols is empty: give at least one, e.g. GroupFolds by speaker")
    names = [protocol.name for protocol in protocols]
    if len(set(names)) < len(names):
        raise PluginError(f"{cls.__name__}.protocols: two have the same name ({few(names)})")
    for protocol in protocols:
        if protocol.version < 1 or not protocol.summary.strip():
            raise PluginError(
                f"{cls.__name__}, protocol {protocol.name!r}: it needs a version >= 1 and a one-line summary"
            )


def expects_its_counts(cls: type[Corpus]) -> None:
    """`expected_ids`, where given, are as many as the counts allow."""
    expected = cls().expected_ids()
    if not isinstance(expected, frozenset):
        raise PluginError(
            f"{cls.__name__}.expected_ids gave a {type(expected).__name__}: it must be a frozenset of ids"
        )
    for label_set in cls.label_sets:
        total = sum(label_set.counts.values())
        if expected and total > len(expected):
            raise PluginError(
                f"{cls.__name__}: label set {label_set.name!r} counts {total} utterances, expected_ids only "
                f"{len(expected)}"
            )


def archives_are_pinned(cls: type[Corpus]) -> None:
    """Archives have an address, a checksum and a size, and names of their own; `release` is one of three words."""
    if cls.release not in RELEASES:
        raise PluginError(f"{cls.__name__}.release = {cls.release!r}: must be one of {', '.join(map(repr, RELEASES))}")
    if len({archive.name for archive in cls.archives}) < len(cls.archives):
        raise PluginError(f"{cls.__name__}.archives: two have the same name")
    for a in cls.archives:
        if not (a.url.startswith(("http://", "https://")) and CHECKSUM.fullmatch(a.checksum) and a.size > 0):
            raise PluginError(
                f"{cls.__name__}, archive {a.name!r}: it needs an http(s) address, a size in bytes and a checksum "
                f"'md5:...', 'sha256:...' or 'git:...' in lower-case hexadecimal digits, not {a.checksum!r}"
            )


def refuses_an_empty_folder(cls: type[Corpus]) -> None:
    """A folder with nothing in it gives nothing, or a CorpusError; and is left as it is."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        try:
            found = list(cls().utterances(root))
        except CorpusError:
            found = []
        if found and not cls.synthetic:
            raise PluginError(f"{cls.__name__}.utterances gives {len(found)} utterances of an empty folder")
        left = [path.name for path in root.iterdir()]
        if left and not cls.synthetic:
            raise PluginError(f"{cls.__name__}.utterances wrote {few(left)} into the data folder: it may only read")


CHECKS = (
    Check("documentation", documented, "The class says what the corpus is, whose, and how to get it", needed=True),
    Check("labels", labels_are_words, "Codes have labels in words", needed=True),
    Check("label_sets", label_sets_fit, "Label sets fit the labels and their own counts", needed=True),
    Check("protocols", protocols_named, "There are named, versioned protocols"),
    Check("expected_ids", expects_its_counts, "The published ids are as many as the counts allow"),
    Check("archives", archives_are_pinned, "What can be downloaded has an address, a checksum and a size"),
    Check("empty_folder", refuses_an_empty_folder, "An empty folder is a CorpusError, never a traceback"),
)
