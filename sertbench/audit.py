"""The corpus doctor, `sertbench audit`: what is in a corpus's folder, beside what was published, and what is wrong.

Nothing is changed and nothing is dropped. A tree that cannot be used still gives a report: with what its adapter
refuses, and all that can be said of the files. Findings are errors (a run would refuse the corpus, or should), warnings
(a run would work, but look first) and notes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sertbench import audit_checks, audit_files, audit_shortcuts, audit_tree
from sertbench.audit_checks import Finding
from sertbench.audit_files import Heard
from sertbench.audit_tree import Tree, printable
from sertbench.corpus import Corpus, LabelSet, Utterance
from sertbench.duplicates import near_copies
from sertbench.errors import AudioError
from sertbench.selection import published_counts

CLEAN, WARNINGS, UNUSABLE = "clean", "warnings", "unusable"
STATUS = {CLEAN: 0, WARNINGS: 1, UNUSABLE: 3}  # exit status; 2 says that the command line was wrong
EDGES = (0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60)  # seconds, of the histogram; the last bin is open


@dataclass(frozen=True)
class Tally:
    """A number of utterances: how many there are and how many were published, where that is known."""

    kind: str  # "utterances", "class", "speaker", "gender", "session" or "subset"
    name: str
    found: int
    published: int | None = None


@dataclass(frozen=True)
class Audit:
    """The report."""

    corpus: str
    root: str
    label_set: str
    findings: tuple[Finding, ...]
    tallies: tuple[Tally, ...]
    histogram: tuple[tuple[float, int], ...]  # seconds from which a bin goes, utterances in it
    hints: dict[str, float]  #                  what the label could be told from without listening (audit_shortcuts)
    files: int
    hours: float
    megabytes: float
    seconds_reading: float
    seconds_comparing: float

    @property
    def status(self) -> str:
        """clean, warnings or unusable."""
        found = {f.severity for f in self.findings}
        return UNUSABLE if "error" in found else WARNINGS if "warning" in found else CLEAN

    def as_json(self) -> dict[str, Any]:
        """Everything, with the names of all files concerned; of the corpus's folder its name alone, for publishing."""
        return {"schema_version": 1, "status": self.status, **asdict(self), "root": Path(self.root).name}


def audit(
    name: str,
    corpus: Corpus,
    root: Path,
    labels: str | None = None,
    excluded: Collection[str] = (),
    on_read: Callable[[int, int], None] = lambda _, __: None,
) -> Audit:
    """Examine a corpus's folder. `on_read` is told how many files were read, of how many.

    Raises ConfigError for an unknown label set, and for exclusions that the corpus does not know.
    """
    tree = audit_tree.read(corpus, root, excluded)
    label_set = tree.corpus.label_set(labels)
    started = time.monotonic()
    files = tree.files()
    told = audit_files.listen_all(files, tree.corpus.channel, lambda done: on_read(done, len(files)))
    heard = dict(zip(files, told, strict=True))
    read = time.monotonic()
    copies = copied(heard, tree.corpus.channel)
    compared = time.monotonic()
    chosen = [u for u in tree.utterances if u.label in label_set.mapping]
    hints = audit_shortcuts.hints(chosen, label_set, heard)
    findings = [
        *audit_checks.tree_findings(tree, name),
        *audit_checks.speaker_findings(tree),
        *audit_checks.count_findings(tree, label_set.name),
        *audit_checks.file_findings(tree, heard),
        *audit_checks.copy_findings(tree, heard, copies),
        *audit_checks.time_findings(tree, heard),
        *audit_shortcuts.findings(chosen, label_set, hints, tree.corpus.synthetic),
    ]
    order = {severity: i for i, severity in enumerate(audit_checks.SEVERITIES)}
    durations = [heard[u.path].seconds for u in chosen if heard[u.path].usable]
    return Audit(
        corpus=tree.corpus.title or name,
        root=printable(str(root)),
        label_set=label_set.name,
        findings=tuple(sorted(findings, key=lambda f: order[f.severity])),
        tallies=tuple(tallies(tree, label_set, chosen)),
        histogram=histogram(durations),
        hints={key: round(value, 3) for key, value in hints.items()},
        files=len(files),
        hours=round(sum(h.seconds for h in heard.values()) / 3600, 3),
        megabytes=round(sum(h.size for h in heard.values()) / 1e6, 1),
        seconds_reading=round(read - started, 2),
        seconds_comparing=round(compared - read, 2),
    )


def copied(heard: dict[Path, Heard], channel: str) -> list[tuple[Path, Path]]:
    """Pairs of files with nearly the same audio; of files whose samples are equal, the first stands for all."""
    first: dict[str, Path] = {}
    for path, file in heard.items():
        if file.course is not None:
            first.setdefault(file.sha256, path)
    paths = list(first.values())
    courses = [course for path in paths if (course := heard[path].course) is not None]
    try:
        pairs = near_copies(paths, list(first), courses, [heard[path].seconds for path in paths], channel)
    except AudioError:  # a file went away while it was looked at; the checks of files say what can be said
        return []
    return [(paths[i], paths[j]) for i, j in pairs]


def tallies(tree: Tree, label_set: LabelSet, chosen: list[Utterance]) -> Iterable[Tally]:
    """Counts, beside the published ones; none of a table that is refused, since it alone could tell the classes."""
    if tree.corpus.tabular and not tree.utterances:
        return
    expected = len(tree.corpus.expected_ids())
    yield Tally("utterances", "all labels", len(tree.utterances), expected or None)
    for other in tree.corpus.label_sets:
        for subset in ("all", *tree.corpus.subsets):
            counts = published_counts(other, subset)
            found = sum(u.label in other.mapping and subset in ("all", u.style) for u in tree.utterances)
            yield Tally("utterances", f"{other.name}, {subset}", found, sum(counts.values()) if counts else None)
    classes = Counter(label_set.mapping[u.label] for u in chosen)
    for name in label_set.classes:
        yield Tally("class", name, classes[name], label_set.counts.get(name))
    speakers = Counter(u.speaker for u in chosen)
    for name in sorted(speakers.keys() | label_set.speakers.keys()):
        yield Tally("speaker", printable(name), speakers[name], label_set.speakers.get(name))
    for kind in ("gender", "session"):
        for value, n in sorted(Counter(getattr(u, kind) for u in chosen if getattr(u, kind)).items()):
            yield Tally(kind, printable(value), n)


def histogram(seconds: list[float]) -> tuple[tuple[float, int], ...]:
    """How many utterances are how long, from the first bin that has some to the last."""
    bins = Counter(max(edge for edge in EDGES if edge <= length) for length in seconds)
    if not bins:
        return ()
    return tuple((edge, bins[edge]) for edge in EDGES if min(bins) <= edge <= max(bins))
