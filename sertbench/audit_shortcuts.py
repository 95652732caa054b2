"""What tells a label without listening: the sample rate, the duration, the level, or who speaks.

Acted anger is loud and acted sadness slow, so duration and level always tell something; their figures stand in every
report, and it takes more than any published corpus at hand has to be warned of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from statistics import fmean, pvariance

from sertbench.audit_checks import ENOUGH, Finding, finding
from sertbench.audit_files import Heard
from sertbench.audit_tree import printable
from sertbench.class_coverage import by_class
from sertbench.corpus import LabelSet, Utterance

MOST = {"sample rate": 0.05, "duration": 0.5, "loudness": 0.75, "speaker": 0.5}  # share told, from which to warn
SINGLE = 0.1  # share of the utterances that may come from speakers with one label
FEW = 5  #      utterances that a speaker has at least whose single label means something


def hints(chosen: Sequence[Utterance], label_set: LabelSet, heard: Mapping[Path, Heard]) -> dict[str, float]:
    """The share of the label, 0 to 1, that each tells.

    "duration" (its logarithm) and "loudness": the correlation ratio, eta squared: the share of the variance that lies
    between classes. "sample rate" and "speaker": Theil's uncertainty coefficient: the share of the label's entropy that
    knowing it removes. Empty for fewer than ENOUGH usable files or fewer than two classes.
    """
    used = [u for u in chosen if heard[u.path].usable]
    labels = [label_set.mapping[u.label] for u in used]
    if len(used) < ENOUGH or len(set(labels)) < 2:
        return {}
    return {
        "sample rate": told(labels, [heard[u.path].rate for u in used]),
        "duration": between(labels, [log(max(heard[u.path].seconds, 1e-3)) for u in used]),
        "loudness": between(labels, [max(heard[u.path].loudness, -100) for u in used]),
        "speaker": told(labels, [u.speaker for u in used]),
    }


def between(labels: Sequence[str], values: Sequence[float]) -> float:
    """Correlation ratio (eta squared) of values and labels."""
    groups = defaultdict(list)
    for label, value in zip(labels, values, strict=True):
        groups[label].append(value)
    whole = pvariance(values)
    if whole < 1e-9:
        return 0.0
    mean = fmean(values)
    return sum(len(g) * (fmean(g) - mean) ** 2 for g in groups.values()) / len(values) / whole


def told(labels: Sequence[str], values: Sequence[object]) -> float:
    """Uncertainty coefficient U(label | value)."""

    def entropy(counts: Counter[object]) -> float:
        total = counts.total()
        return -sum(n / total * log(n / total) for n in counts.values())

    groups = defaultdict(list)
    for label, value in zip(labels, values, strict=True):
        groups[value].append(label)
    whole = entropy(Counter(labels))
    left = sum(len(g) / len(labels) * entropy(Counter(g)) for g in groups.values())
    return max(0.0, 1 - left / whole)


def findings(
    chosen: Sequence[Utterance], label_set: LabelSet, hints: Mapping[str, float], synthetic: bool
) -> Iterator[Finding]:
    """Shortcuts that deserve a warning."""
    for what, share in hints.items():
        if share >= MOST[what] and not synthetic:
            text = f"the {what} alone tells {share:.0%} of the label: a model may learn it instead of emotion"
            remedy = "Run the diagnostics beside your model: --model duration, loudness, speaker."
            yield Finding("warning", "shortcut", text, remedy)
    by_speaker = defaultdict(list)
    for u in chosen:
        by_speaker[u.speaker].append(label_set.mapping[u.label])
    single = {s: len(ls) for s, ls in by_speaker.items() if len(set(ls)) == 1 and len(ls) >= FEW}
    many = sum(single.values()) > SINGLE * len(chosen)
    text = (
        f"speakers with one label, with {sum(single.values())} of {len(chosen)} utterances: who speaks tells the label"
    )
    remedy = "Keep speakers apart, and run --model speaker beside yours."
    yield from finding("warning" if many else "note", "one-label", text, remedy, map(printable, sorted(single)))
    talkers = by_class((label_set.mapping[u.label], u.speaker) for u in chosen)
    alone = [printable(label) for label, who in talkers.items() if len(who) == 1] if len(by_speaker) > 1 else []
    yield from finding("warning", "one-speaker", "labels that one speaker alone has", remedy, alone)
