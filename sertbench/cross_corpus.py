"""Several corpora as one: which emotions they share, their union, and the split that trains on some and tests others.

Emotions are matched by `CANONICAL`, a table of names. What it does not name keeps its own name and matches only itself:
calm is not neutral, excited is not happy and frustrated is not angry, unless the user says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sertbench.corpus import Corpus, LabelSet, Manifest, Utterance
from sertbench.errors import ConfigError, CorpusError, ProtocolError, few, unknown
from sertbench.protocol_rules import ascending, shuffled
from sertbench.protocols import Fold, Split, build_split

# Names of an emotion -> the one that stands for them here.
CANONICAL = {
    **dict.fromkeys(("anger", "angry"), "angry"),
    **dict.fromkeys(("happiness", "happy", "joy", "joyful"), "happy"),
    **dict.fromkeys(("sadness", "sad"), "sad"),
    **dict.fromkeys(("neutral", "neutrality"), "neutral"),
    **dict.fromkeys(("fear", "fearful", "afraid"), "fear"),
    **dict.fromkeys(("disgust", "disgusted"), "disgust"),
    **dict.fromkeys(("surprise", "surprised"), "surprise"),
    **dict.fromkeys(("boredom", "bored"), "boredom"),
    **dict.fromkeys(("contempt", "contemptuous"), "contempt"),
    **dict.fromkeys(("excited", "excitement"), "excited"),
    **dict.fromkeys(("frustrated", "frustration"), "frustrated"),
    **dict.fromkeys(("calm", "calmness"), "calm"),
}
ORDER = ("angry", "happy", "sad", "neutral", "fear", "disgust", "surprise")  # of the classes; others follow, sorted
LONGEST = 60  # characters of a name of several corpora, which is part of a folder's name
SHARE = 0.2  # of the speakers of a training corpus, who validate


@dataclass(frozen=True)
class Part:
    """One corpus of several, as its own label set gives it."""

    name: str
    spec: str
    corpus: Corpus
    label_set: LabelSet
    manifest: Manifest

    @property
    def pool(self) -> str:
        """Whose speakers its ids name: its own, unless the adapter says that corpora share them."""
        return self.corpus.speaker_pool or self.name


def canonical(name: str, merged: Mapping[str, str]) -> str:
    """The class that a class's name stands for; `merged` is what the user says."""
    key = CANONICAL.get(name.lower(), name.lower())
    return merged.get(key, key)


def read_merges(texts: Iterable[str], label_sets: Iterable[LabelSet]) -> dict[str, str]:
    """What `--merge calm=neutral` says. ConfigError for a name that no corpus has, and for a chain of merges."""
    known = {canonical(c, {}) for label_set in label_sets for c in label_set.classes}
    merged = {}
    for text in texts:
        one, equals, other = text.partition("=")
        if not equals or not one or not other:
            raise ConfigError(f"--merge {text}: expected ONE=OTHER, e.g. calm=neutral")
        for name in (one, other):
            if canonical(name, {}) not in known:
                raise ConfigError(f"--merge {text}: {unknown('emotion of these corpora', name, known)}")
        merged[canonical(one, {})] = canonical(other, {})
    if chained := sorted(set(merged) & set(merged.values())):
        raise ConfigError(
            f"--merge: {few(chained)} is counted as another emotion, and another one as it. Name the emotion that all "
            "of them end in: --merge calm=neutral --merge bored=neutral"
        )
    return merged


def shared_classes(parts: Sequence[Part], merged: Mapping[str, str]) -> tuple[str, ...]:
    """The classes that all corpora have. ConfigError if there are fewer than two."""
    each = [{canonical(c, merged) for c in part.label_set.classes} for part in parts]
    shared = set.intersection(*each)
    if len(shared) < 2:
        has = "; ".join(
            f"{p.name} ({p.label_set.name}): {', '.join(sorted(e))}" for p, e in zip(parts, each, strict=True)
        )
        raise ConfigError(
            f"the corpora share {len(shared)} emotions, and two is the least. {has}. Choose other label sets with "
            "--labels NAME=SET, or say which are the same with --merge calm=neutral"
        )
    return (*(c for c in ORDER if c in shared), *sorted(shared - set(ORDER)))


def mapping_of(part: Part, classes: Sequence[str], merged: Mapping[str, str]) -> dict[str, str]:
    """The corpus's own labels that count, with the shared class of each."""
    found = {label: canonical(c, merged) for label, c in part.label_set.mapping.items()}
    return {label: c for label, c in found.items() if c in classes}


def describe_mapping(parts: Sequence[Part], classes: Sequence[str], merged: Mapping[str, str]) -> dict[str, Any]:
    """Per corpus: its label set, its classes by shared class, and those that are left out."""
    said = {}
    for part in parts:
        used: dict[str, list[str]] = {c: [] for c in classes}
        for own in part.label_set.classes:
            if (c := canonical(own, merged)) in used:
                used[c].append(own)
        left = [own for own in part.label_set.classes if canonical(own, merged) not in used]
        said[part.name] = {"label_set": part.label_set.name, "classes": used, "left_out": left}
    return said


def restricted(part: Part, classes: Sequence[str], merged: Mapping[str, str]) -> Manifest:
    """The corpus's manifest with the shared classes alone."""
    mapping, own = mapping_of(part, classes, merged), part.manifest
    kept = [i for i, u in enumerate(own.utterances) if u.label in mapping]
    return replace(
        own, label_set=named(classes), classes=tuple(classes), utterances=tuple(own.utterances[i] for i in kept),
        targets=tuple(classes.index(mapping[own.utterances[i].label]) for i in kept),
        audio_sha256=tuple(own.audio_sha256[i] for i in kept), seconds=tuple(own.seconds[i] for i in kept),
    )  # fmt: skip


def named(classes: Sequence[str]) -> str:
    """What the label set of shared classes is called."""
    return f"shared{len(classes)}"


def union(parts: Sequence[Part], classes: Sequence[str], merged: Mapping[str, str], name: str) -> Manifest:
    """All utterances of the shared classes. Ids begin with their corpus's name, and so do speakers and all groups."""
    rows = []
    for part in parts:
        one = restricted(part, classes, merged)
        renamed = (prefixed(u, part) for u in one.utterances)
        rows += list(zip(renamed, one.targets, one.audio_sha256, one.seconds, strict=True))
    rows.sort(key=lambda row: row[0].id)
    utterances, targets, hashes, seconds = zip(*rows, strict=True)
    return Manifest(name, named(classes), "all", tuple(classes), utterances, targets, hashes, seconds)


def prefixed(utterance: Utterance, part: Part) -> Utterance:
    """The same utterance with names that no other corpus has."""
    groups: dict[str, Any] = {
        name: f"{part.name}/{value}"
        for name in ("id", "session", "dialogue", "text", "recording")
        if (value := getattr(utterance, name)) is not None
    }
    return replace(utterance, **groups, speaker=f"{part.pool}/{utterance.speaker}", partition=None)


def joined(names: Sequence[str]) -> str:
    """The names of corpora as one; of many, how many they are."""
    text = "+".join(names)
    return text if len(text) <= LONGEST else f"{len(names)}corpora"


def corpus_of(utterance_id: str) -> str:
    """The corpus of an utterance of a union."""
    return utterance_id.partition("/")[0]


def channel_of(parts: Sequence[Part]) -> str:
    """The channel rule that serves all corpora: files of one channel are the same under each.

    CorpusError if two corpora with several channels need different ones.
    """
    rules = {p.corpus.channel: p.name for p in parts if p.corpus.channel != "mono"}
    if len(rules) > 1:
        said = ", ".join(f"{name} {rule!r}" for rule, name in rules.items())
        raise CorpusError(
            f"the corpora take different channels ({said}), which one run cannot. Convert one of them to mono files, "
            "and give it as --data NAME=PATH"
        )
    return next(iter(rules), "mono")


class Union(Corpus):
    """Several corpora as one; made for each run."""

    labels: ClassVar[Mapping[str, str]] = {}

    def __init__(self, parts: Sequence[Part], name: str) -> None:
        first = parts[0].corpus
        self.title = name  # type: ignore[misc]  # of this instance, as those below
        self.channel = channel_of(parts)  # type: ignore[misc]
        self.licence = "; ".join(f"{p.name}: {p.corpus.licence}" for p in parts)  # type: ignore[misc]
        self.citation = "; ".join(p.corpus.citation for p in parts)  # type: ignore[misc]
        self.language = ", ".join(dict.fromkeys(p.corpus.language for p in parts))  # type: ignore[misc]
        self.synthetic = any(p.corpus.synthetic for p in parts)  # type: ignore[misc]
        self.unranked = "cross-corpus"  # type: ignore[misc]
        self.access, self.layout = first.access, first.layout  # type: ignore[misc]

    def utterances(self, root: Any) -> Any:
        """A union has no folder of its own."""
        raise CorpusError(f"{root}: a union of corpora is not read from one folder")


@dataclass(frozen=True)
class CrossCorpus:
    """Train and validate on some corpora, and test others whole.

    A fifth of the speakers of each training corpus validates, women and men in turn, drawn by the hash of their names;
    a corpus of one speaker trains only. So no test corpus has any part in the choice of anything.
    """

    covers: ClassVar[str] = "some"
    refit: ClassVar[bool] = False
    version: ClassVar[int] = 1
    promises: ClassVar[Mapping[str, str]] = {"speaker": "all"}

    train: tuple[str, ...]
    test: tuple[str, ...]
    summary: str = "train on some corpora, test on others"

    @property
    def name(self) -> str:
        """Which corpora."""
        return f"{joined(self.train)}-to-{joined(self.test)}"

    def split(self, utterances: Sequence[Utterance]) -> Split:
        """One fold. ProtocolError if no training corpus has two speakers."""
        val_speakers: set[str] = set()
        for corpus in self.train:
            val_speakers |= self.validating(corpus, [u for u in utterances if corpus_of(u.id) == corpus])
        if not val_speakers:
            raise ProtocolError(
                f"{', '.join(self.train)}: no speaker can validate while another one trains. Train on a corpus of two "
                "speakers or more"
            )
        parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for i, u in enumerate(utterances):
            inside = corpus_of(u.id) in self.train
            parts["test" if not inside else "val" if u.speaker in val_speakers else "train"].append(i)
        folds: list[Fold] = [ascending("cross", **parts)]
        return build_split(self, utterances, folds)

    def validating(self, corpus: str, utterances: Sequence[Utterance]) -> set[str]:
        """The speakers of a training corpus who validate."""
        gender = {u.speaker: u.gender or "" for u in utterances}
        if len(gender) < 2:
            return set()
        queues = [
            shuffled((s for s, g in gender.items() if g == one), f"cross/{self.version}/{corpus}")
            for one in sorted(set(gender.values()))
        ]
        turns = [s for turn in range(len(gender)) for queue in queues for s in queue[turn : turn + 1]]
        return set(turns[: max(1, round(SHARE * len(turns)))])
