"""Classes of which there is little: in a corpus, or in the parts of its folds. All weigh the same in the UAR."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from sertbench.corpus import Manifest
from sertbench.errors import counted, few
from sertbench.protocols import Split

UTTERANCES = 10  # of a class, from which on its recall is more than the luck of a few
SPEAKERS = 3  #     who have a class: one trains, one validates, one tests
PARTS = {"train": "training", "test": "test"}


def by_class(pairs: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """How many utterances of each class each speaker has, from pairs of class and speaker."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label, speaker in pairs:
        found[label][speaker] += 1
    return found


def sparse(manifest: Manifest, split: Split) -> list[str]:
    """Each class that has few utterances or speakers, or that a fold's training or test part lacks, in words."""
    names = [manifest.classes[target] for target in manifest.targets]
    found = by_class(zip(names, (u.speaker for u in manifest.utterances), strict=True))
    has = {role: [{names[i] for i in fold.part(role)} for fold in split.folds] for role in PARTS}
    said = []
    for name in manifest.classes:
        talkers = found.get(name, Counter())
        faults = []
        if talkers.total() < UTTERANCES or len(talkers) < SPEAKERS:
            size = f"{counted(talkers.total(), 'utterance')} of {counted(len(talkers), 'speaker')}"
            faults.append(f"{size}, for 1/{len(manifest.classes)} of the UAR")
        for role, part in PARTS.items():
            lacking = [fold.name for fold, there in zip(split.folds, has[role], strict=True) if name not in there]
            if lacking:
                where = (
                    "any fold" if len(lacking) == len(split.folds) else f"fold{'s' * (len(lacking) > 1)} {few(lacking)}"
                )
                faults.append(f"none in the {part} part of {where}")
        if faults:
            said.append(f"{name}: {'; '.join(faults)}")
    return said
