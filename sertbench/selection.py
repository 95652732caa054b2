"""Which utterances of a corpus a run is about: those of a label set and subset, after all checks that need no audio.

Light, as `corpus` is: no numpy, no torch.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench import exclusions
from sertbench.errors import ConfigError, CorpusError, counted, few, unknown

if TYPE_CHECKING:
    from sertbench.corpus import Corpus, LabelSet, Utterance


def select(
    corpus: Corpus, name: str, root: Path, label_set: LabelSet, subset: str, excluded: Collection[str] = ()
) -> list[Utterance]:
    """The utterances of a label set and subset, sorted by id, after all checks that need no audio.

    `excluded` are the names of what may be missing and is left out (see `exclusions`). Raises CorpusError when the tree
    lacks other files, holds unknown ones, or gives other counts than the published ones; ConfigError for an unknown
    subset or a name in `excluded` that the corpus does not know.
    """
    if subset != "all" and subset not in corpus.subsets:
        raise ConfigError(unknown("subset", subset, ("all", *corpus.subsets)))
    hidden: list[Path] = []
    while True:
        with exclusions.reading(corpus.home(root), excluded, hidden) as reading:
            try:
                whole = sorted(utterances(corpus, root), key=lambda u: u.id)
                break
            except CorpusError:
                if (refused := reading.names_refused()) is None:
                    raise
                hidden.append(refused)
    found = [u for u in whole if not named(u, corpus.home(root), excluded)]
    if excluded:
        exclusions.refuse_strangers(corpus.home(root), reading, {u.id for u in whole}, corpus.expected_ids())
    if not found:
        raise CorpusError(f"{root} holds no utterance of {name}. Expected: {corpus.layout}")
    left_out = {u.id for u in whole} - {u.id for u in found}
    check_ids(corpus, name, root, found, reading.excusable | left_out)
    chosen = [u for u in found if u.label in label_set.mapping]
    check_counts(name, label_set, "all", chosen, len(excluded))  # a subset may have no published counts of its own
    if subset == "all":
        return chosen
    part = [u for u in chosen if u.style == subset]
    check_counts(name, label_set, subset, part, len(excluded))
    return part


def utterances(corpus: Corpus, root: Path) -> Iterator[Utterance]:
    """What the adapter yields; CorpusError also for annotations that are so damaged that reading them fails."""
    try:
        yield from corpus.utterances(root)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        reason = str(error) if isinstance(error, (OSError, UnicodeError, csv.Error)) else repr(error)
        raise CorpusError(
            f"{root}: names or annotations cannot be read ({reason}). Expected: {corpus.layout}. {corpus.access}"
        ) from error


def named(utterance: Utterance, home: Path, names: Collection[str]) -> bool:
    """Whether a list of exclusions names an utterance, by its id or by its path from `home`."""
    if not names:
        return False
    return utterance.id in names or exclusions.name_from(utterance.path, home) in names


def check_ids(
    corpus: Corpus, name: str, root: Path, found: list[Utterance], excused: Collection[str] = frozenset()
) -> None:
    """Refuse ids that occur twice, and ids that are missing from or unknown to the published corpus.

    An id in `excused` may be missing.
    """
    repeated = [i for i, n in Counter(u.id for u in found).items() if n > 1]
    if repeated:
        twice = [str(u.path) for u in found if u.id in repeated]
        raise CorpusError(
            f"{name}: {counted(len(repeated), 'utterance')} found more than once (a nested copy?): {few(twice)}. "
            "Point --data at one of the copies, or delete the other."
        )
    expected = corpus.expected_ids()
    ids = {u.id for u in found}
    missing, extra = sorted(expected - ids - frozenset(excused)), sorted(ids - expected)
    if expected and (missing or extra):
        parts = [f"{len(missing)} missing: {few(missing)}"] if missing else []
        parts += [f"{len(extra)} extra: {few(extra)}"] if extra else []
        raise CorpusError(
            f"{root} is not the published {name} ({len(expected)} utterances). {'; '.join(parts)}. "
            f"Get it again: {corpus.access}"
        )


def check_counts(name: str, label_set: LabelSet, subset: str, chosen: list[Utterance], excluded: int = 0) -> None:
    """Compare counts per class and per speaker with the published ones; `excluded` utterances in all may be missing."""
    classes, speakers = count_faults(label_set, subset, chosen)
    lacking = max(sum(max(n - m, 0) for _, m, n in part) for part in (classes, speakers))
    if lacking <= excluded and all(m < n for _, m, n in classes + speakers):
        return
    wrong = [f"{what}: {m} instead of {n}" if n else f"{what}: not in the corpus" for what, m, n in classes + speakers]
    published = published_counts(label_set, subset)
    total = f"{len(chosen)} utterances instead of {sum(published.values())}; " if published else ""
    left = f" Beside the {excluded} that --accept-missing names, some are missing." if excluded else ""
    raise CorpusError(
        f"{name}, label set {label_set.name!r}, subset {subset!r}: {total}{few(wrong, 12)}.{left} "
        "The copy is incomplete or changed: unpack it again from the original archive."
    )


def published_counts(label_set: LabelSet, subset: str) -> Mapping[str, int]:
    """Published numbers of utterances per class of a subset; empty if none are published."""
    return label_set.counts if subset == "all" else label_set.subset_counts.get(subset, {})


def count_faults(
    label_set: LabelSet, subset: str, chosen: list[Utterance]
) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
    """Classes and speakers whose counts are not the published ones: what, found, published (0: unknown speaker)."""
    counted = Counter(label_set.mapping[u.label] for u in chosen)
    classes = [(c, counted[c], n) for c, n in published_counts(label_set, subset).items() if counted[c] != n]
    talkers = Counter(u.speaker for u in chosen)
    said = label_set.speakers if subset == "all" else {}
    speakers = [(f"speaker {s}", talkers[s], n) for s, n in said.items() if talkers[s] != n]
    speakers += [(f"speaker {s}", talkers[s], 0) for s in sorted(set(talkers) - set(said)) if said]
    return classes, speakers
