"""What `sertbench audit` checks, each a function from what was read to findings.

What cannot be checked: files that were swapped within a corpus whose annotation has no times, labels that are wrong,
and audio that was processed in a way that keeps its length and name. Published hashes of every file would be needed.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sertbench.audit_files import CLIPPED, SILENT, SOUND, Heard
from sertbench.audit_tree import MOST_REFUSED, Tree, printable
from sertbench.errors import few
from sertbench.selection import count_faults

SEVERITIES = ("error", "warning", "note")
LONG = 12.0  #       times the median duration: IEMOCAP's longest turn is 9.5 times
ONE_LENGTH = 0.9  #  share of files of exactly the same length from which they were cut or padded by a program
ENOUGH = 20  #       files that are needed for a statement about all of them
TIMES = 0.25  #      seconds by which a file may differ from the times in its annotation
AGAIN = "Unpack, copy or export them again from the originals."
UNPACK = "Unpack the original archive again."  # what is published comes in one
OTHERWISE = "If it was published so, name it in a file for --accept-missing, or leave it."
FAULTS = {  # fault of AudioError -> what it is, what to do
    "lfs-pointer": ("git-LFS pointers instead of audio", "Type `git lfs pull` in the repository they came from."),
    "web-page": ("web pages or XML instead of audio: the download failed", "Download them again."),
    "text": ("text instead of audio: the download failed", "Download them again."),
    "apple-double": ("AppleDouble twins of macOS instead of audio", "Delete them."),
    "truncated": ("truncated: less is there than the header says", AGAIN),
    "empty-file": ("empty files of 0 bytes", AGAIN),
    "no-samples": ("audio of 0 samples", AGAIN),
    "not-finite": ("samples that are NaN, infinite or beyond any scale", AGAIN),
    "header": ("a damaged header", AGAIN),
    "channels": ("several channels, where the corpus has one", AGAIN),
    "unreadable": ("not allowed to be read", "Change their permissions."),
    "folder": ("folders, not audio files", "Rename them, or move them away."),
    "missing": ("gone, or links to nothing", AGAIN),
    "undecodable": ("not decodable as audio", AGAIN),
}


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found, with all files (or utterance ids) that it concerns."""

    severity: str
    code: str
    message: str
    remedy: str = ""
    files: tuple[str, ...] = ()


def finding(severity: str, code: str, message: str, remedy: str, files: Iterable[str]) -> Iterator[Finding]:
    """A finding, if it concerns any file."""
    if found := tuple(files):
        yield Finding(severity, code, message, remedy, found)


def tree_findings(tree: Tree, name: str) -> Iterator[Finding]:
    """What the adapter refuses; ids that are missing, extra or there twice; what else lies in the folder."""
    by_words = defaultdict(list)
    for path, words in tree.refused:
        by_words[words.replace(printable(str(path)), "this file") if path else words].append(path)
    for words, paths in by_words.items():
        yield Finding("error", "refused", words, "", tuple(tree.name(path) for path in paths if path))
    if sum(path is not None for path, _ in tree.refused) > MOST_REFUSED:
        text = f"more than {MOST_REFUSED} files are refused; the others of them are not named here"
        yield Finding("error", "refused", text, "Is this the right corpus, or another release of it?")
    yield from finding(
        "error", "closed-folder", "folders that cannot be listed", "Change their permissions.", tree.closed
    )
    ids = Counter(u.id for u in tree.utterances)
    twice = [tree.name(u.path) for u in tree.utterances if ids[u.id] > 1]
    text = f"{sum(n > 1 for n in ids.values())} utterances are there more than once: a nested copy of the tree?"
    yield from finding(
        "error", "nested-copy", text, "Point --data at one of the copies, or move the other away.", twice
    )
    expected = tree.corpus.expected_ids()
    lost = sorted(expected - ids.keys() - tree.excusable) if ids else []
    yield from finding("error", "missing", f"of {len(expected)} published utterances are missing", UNPACK, lost)
    extra = [printable(i) for i in sorted(ids.keys() - expected)] if expected else []
    yield from finding(
        "error", "extra", f"are no published utterances of {name}", "Move them out of the folder.", extra
    )
    if not tree.utterances and not tree.refused:
        yield Finding("error", "nothing", f"no utterance of {name} is here. Expected: {tree.corpus.layout}", "")
    yield from finding(
        "note", "twins", "`._` twins that macOS archives add; they are never read", "", map(tree.name, tree.twins)
    )
    used = {u.path for u in tree.utterances}
    spare = [tree.name(path) for path in tree.audio if path not in used and not tree.leaves_out(path)]
    refused = {tree.name(path) for path, _ in tree.refused if path}
    text = "audio files that are no utterances of the corpus; they are never read"
    yield from finding("note", "unused", text, "", [n for n in spare if n not in refused] if tree.whole else ())
    yield from finding(
        "note", "left-out", "left out by --accept-missing: rows stand on a table of their own", "", tree.excluded
    )


def speaker_findings(tree: Tree) -> Iterator[Finding]:
    """Speakers who are said to be a woman here and a man there."""
    genders: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for u in tree.utterances:
        if u.gender:
            genders[u.speaker][u.gender] += 1
    both = {name: said for name, said in genders.items() if len(said) > 1}
    words = [
        f"{printable(name)}: " + ", ".join(f"{g} {n}" for g, n in sorted(both[name].items())) for name in sorted(both)
    ]
    text = "speakers with two genders: two people under one name, or a mistake"
    remedy = "Give two people two names, each in all lines of theirs; or mend the gender."
    yield from finding("warning", "two-genders", text, remedy, words)


def count_findings(tree: Tree, asked: str) -> Iterator[Finding]:
    """Label sets whose counts are not the published ones: an error for the one that was asked for."""
    for label_set in tree.corpus.label_sets if tree.utterances else ():
        for subset in ("all", *tree.corpus.subsets):
            chosen = [u for u in tree.utterances if u.label in label_set.mapping and subset in ("all", u.style)]
            classes, speakers = count_faults(label_set, subset, chosen)
            lacking = max(sum(n - m for _, m, n in part) for part in (classes, speakers))
            if not classes + speakers or (
                lacking <= len(tree.excluded) and all(m < n for _, m, n in classes + speakers)
            ):
                continue
            wrong = [f"{what} {m} instead of {n}" for what, m, n in classes + speakers]
            text = f"counts of label set {label_set.name}, {subset}, are not the published ones: {few(wrong, 20)}"
            severity = "error" if label_set.name == asked else "warning"
            yield Finding(severity, "counts", printable(text), UNPACK)


def file_findings(tree: Tree, heard: Mapping[Path, Heard]) -> Iterator[Finding]:
    """Files that cannot be used, or are not what one expects of an utterance."""
    named = {path: tree.name(path) for path in heard}

    def where(test: Iterable[Path]) -> list[str]:
        return [named[path] for path in test]

    for fault, (what, remedy) in FAULTS.items():
        yield from finding("error", fault, what, remedy, where(p for p, h in heard.items() if h.fault == fault))
    good = {path: h for path, h in heard.items() if h.usable}
    published = {u.path for u in tree.utterances if u.id in tree.corpus.known_silent}
    silent = {p for p, h in good.items() if h.peak < SILENT}
    yield from finding(
        "warning", "silent", "silent: no sample is above -60 dB of full scale", OTHERWISE, where(silent - published)
    )
    empty = [p for p, h in good.items() if p not in silent and h.sound < SOUND]
    yield from finding(
        "warning",
        "near-empty",
        f"less than {SOUND} s of sound",
        OTHERWISE,
        where(p for p in empty if p not in published),
    )
    known = [p for p in (*silent, *empty) if p in published]
    yield from finding(
        "note", "published-silent", "published silent or nearly so: no fault of this copy", "", where(known)
    )
    cut = [p for p, h in good.items() if h.clipped >= CLIPPED]
    text = f"clipped: {CLIPPED:.1%} of the samples or more lie in flat peaks at full scale"
    yield from finding("warning", "clipped", text, "Was the level raised, or is it published so?", where(cut))
    yield from odd_ones(good, named)


def odd_ones(good: Mapping[Path, Heard], named: Mapping[Path, str]) -> Iterator[Finding]:
    """Files unlike most others: in rate, channels or length."""
    rates = Counter(h.rate for h in good.values())
    if len(rates) > 1:
        usual, n = rates.most_common(1)[0]
        text = f"another sample rate than the {usual} Hz of the other {n}: " + ", ".join(
            f"{count} of {rate} Hz" for rate, count in sorted(rates.items()) if rate != usual
        )
        remedy = (
            "What was recorded at another rate sounds different: see the shortcuts. If one tool did it: "
            + AGAIN.lower()
        )
        yield from finding("warning", "rate", text, remedy, [named[p] for p, h in good.items() if h.rate != usual])
    channels = Counter(h.channels for h in good.values())
    if len(channels) > 1:  # where this is a fault, the corpus's channel rule has refused them
        usual = channels.most_common(1)[0][0]
        text = f"another number of channels than the {usual} of the others; the corpus's rule makes one of them"
        yield from finding("note", "channels", text, "", [named[p] for p, h in good.items() if h.channels != usual])
    if len(good) >= ENOUGH:
        median = statistics.median(h.seconds for h in good.values())
        long = [named[p] for p, h in good.items() if h.seconds > LONG * median]
        text = f"longer than {LONG:g} times the median of {median:.2f} s: more than one utterance?"
        yield from finding("warning", "long", text, OTHERWISE, long)
        length, n = Counter(h.samples for h in good.values()).most_common(1)[0]
        if n >= ONE_LENGTH * len(good):
            text = f"{n} of {len(good)} files have exactly {length} samples: a program cut or padded them"
            yield Finding("warning", "one-length", text, AGAIN)


def copy_findings(tree: Tree, heard: Mapping[Path, Heard], near: Sequence[tuple[Path, Path]]) -> Iterator[Finding]:
    """The same audio under several names."""
    ids = {u.path: u.id for u in tree.utterances}
    published = {frozenset(pair) for pair in tree.corpus.known_duplicates}
    same: dict[str, list[Path]] = defaultdict(list)
    for path, file in heard.items():
        if file.usable and file.peak >= SILENT:
            same[file.sha256].append(path)
    pairs = [(group[0], other) for group in same.values() for other in group[1:]]
    pairs = [(a, b) for a, b in pairs if ids.get(a, a.stem) != ids.get(b, b.stem)]  # else a nested copy
    known = [(a, b) for a, b in pairs if frozenset((ids.get(a, ""), ids.get(b, ""))) in published]
    text = "published with the same audio under two names; the leakage gate keeps the two in one role"
    yield from finding("note", "published-copy", text, "", _pairs(tree, known))
    by_id = defaultdict(set)
    for path, file in heard.items():
        if file.usable:
            by_id[ids.get(path, path.stem)].add(file.sha256)
    text = "the same audio under two names"
    remedy = "A file was copied or misnamed: compare them with the originals."
    fresh = [pair for pair in pairs if pair not in known]
    yield from finding("warning", "copy", text, remedy, _pairs(tree, fresh))
    text = "nearly the same audio under two names: cut, re-encoded, or at another level"
    apart = [(a, b) for a, b in near if ids.get(a, a.stem) != ids.get(b, b.stem)]
    yield from finding("warning", "near-copy", text, remedy, _pairs(tree, apart))
    differ = [printable(name) for name, hashes in by_id.items() if len(hashes) > 1]
    text = "there more than once with different audio: one copy of the tree was swapped about or changed"
    yield from finding("error", "copies-differ", text, UNPACK, sorted(differ))


def time_findings(tree: Tree, heard: Mapping[Path, Heard]) -> Iterator[Finding]:
    """Files whose length is not what the times in the annotation say; swapped ones among them."""
    said = {u.path: u.annotated_seconds for u in tree.utterances if u.annotated_seconds is not None}
    off = {p: s for p, s in said.items() if heard[p].usable and abs(heard[p].seconds - s) > TIMES}
    partners: dict[Path, list[Path]] = (
        {
            a: [
                b
                for b, length in off.items()
                if a != b and abs(heard[a].seconds - length) <= TIMES and abs(heard[b].seconds - off[a]) <= TIMES
            ]
            for a in off
        }
        if len(off) <= max(ENOUGH, len(said) // 10)
        else {}
    )
    swapped = [(a, b[0]) for a, b in partners.items() if len(b) == 1 and partners[b[0]] == [a] and a < b[0]]
    remedy = f"Their audio belongs to each other's name. {UNPACK}"
    text = "swapped: each is as long as the annotation says of the other"
    yield from finding("warning", "swapped", text, remedy, _pairs(tree, swapped))
    rest = [p for p in off if not any(p in pair for pair in swapped)]
    text = f"more than {TIMES} s longer or shorter than the times in the annotation: misnamed, swapped, cut or padded"
    yield from finding("warning", "other-length", text, UNPACK, [tree.name(p) for p in rest])


def _pairs(tree: Tree, pairs: Iterable[tuple[Path, Path]]) -> list[str]:
    return [f"{tree.name(a)} = {tree.name(b)}" for a, b in pairs]
