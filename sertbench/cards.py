"""Dataset cards in Markdown: what an adapter knows of its corpus and, with the data at hand, what is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median

from sertbench import corpus_facts
from sertbench.corpus import Corpus, LabelSet, Manifest
from sertbench.errors import ProtocolError
from sertbench.protocols import Protocol

MANY = 30  # from here on speakers are summed up, not listed
CHANNELS = {
    "mono": "one channel is expected; several are refused",
    "left": "the left channel",
    "right": "the right channel",
    "mean": "the mean of the channels, where there are several",
}


def markdown(name: str, corpus: Corpus, manifest: Manifest | None = None) -> str:
    """The card of a corpus; with a manifest also counts, durations and the flags of its folds, as measured."""
    parts = [
        f"# {name}\n\n{corpus_facts.description(corpus)}",
        f"## Facts\n\n{facts(name, corpus)}",
        f"## Label sets\n\n{label_sets(corpus)}",
        f"## Protocols\n\n{protocols(corpus)}",
    ]
    if twins := getattr(corpus, "known_duplicates", ()):
        parts.append("## Published twice\n\n" + "\n".join("- " + " = ".join(f"`{i}`" for i in ids) for ids in twins))
    if silent := getattr(corpus, "known_silent", ()):
        parts.append("## Published silent, or nearly so\n\n" + "\n".join(f"- `{i}`" for i in silent))
    if manifest is not None:
        parts.append(f"## Measured\n\n{measured(corpus, manifest)}")
    if entry := corpus_facts.bibtex(name, corpus):
        parts.append(f"## Cite\n\n{corpus.citation}\n\n```bibtex\n{entry}\n```")
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def facts(name: str, corpus: Corpus) -> str:
    """Who, how much, on which terms and where."""
    known = corpus_facts.facts(corpus)
    offer = f"`sertbench download {name}`, or by hand: " if corpus.archives else ""
    rows = [
        ("language", known.language),
        ("speakers", speakers(corpus, corpus.label_sets[0])),
        ("utterances", f"{known.utterances} (label set {corpus.label_sets[0].name})"),
        ("hours", known.hours),
        ("licence", corpus.licence),
        ("how to get it", offer + corpus.access),
        ("the data folder holds", corpus.layout),
        ("channels", CHANNELS[corpus.channel]),
        ("subsets", ", ".join(corpus.subsets) or "none"),
        ("ranked", f"no: {known.unranked}" if known.unranked else "yes"),
    ]
    return table(("", ""), rows)


def speakers(corpus: Corpus, label_set: LabelSet) -> str:
    """How many speakers and, where published, how many utterances of each."""
    counts = label_set.speakers
    if not counts:
        return str(corpus.n_speakers or corpus_facts.UNKNOWN)
    if len(counts) >= MANY:
        return f"{len(counts)}, of {min(counts.values())} to {max(counts.values())} utterances each"
    return f"{len(counts)} ({listed(counts)})"


def listed(counts: Mapping[str, int]) -> str:
    """Names with their numbers, in a line."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def label_sets(corpus: Corpus) -> str:
    """The label sets, the default one first, with the published counts of their classes."""
    rows = []
    for n, s in enumerate(corpus.label_sets):
        total = f"{sum(s.counts.values()):,}" if s.counts else corpus_facts.UNKNOWN
        classes = listed(s.counts) if s.counts else ", ".join(s.classes)
        rows.append((f"`{s.name}`" + ("" if n else " (default)"), total, classes, s.note))
    return table(("label set", "utterances", "classes", "note"), rows)


def protocols(corpus: Corpus) -> str:
    """The protocols, the default one first, and what they promise."""
    rows = [
        (f"`{p.name}`" + ("" if n else " (default)"), p.summary, kept_apart(p), p.covers)
        for n, p in enumerate(corpus.protocols)
    ]
    return table(("protocol", "folds", "kept apart", "tested utterances"), rows)


def kept_apart(protocol: Protocol) -> str:
    """What the roles of each fold do not share, besides utterances."""
    words = {"all": "train, validation and test", "test": "test from the others"}
    return "; ".join(f"{key}: {words[between]}" for key, between in protocol.promises.items()) or "utterances only"


def measured(corpus: Corpus, manifest: Manifest) -> str:
    """Counts and durations of the data at hand, and what the folds over them are."""
    seconds = manifest.seconds
    again = sum(n - 1 for n in Counter(manifest.audio_sha256).values())
    rows = [
        ("label set", manifest.label_set),
        ("utterances", f"{len(manifest):,}"),
        ("hours", f"{sum(seconds) / 3600:.2f}"),
        ("seconds", f"{min(seconds):.2f} to {max(seconds):.2f}, median {median(seconds):.2f}"),
        ("utterances whose audio is there already", again),
        ("manifest", f"`sha256:{manifest.sha256}`"),
    ]
    classes = [manifest.classes[target] for target in manifest.targets]
    people = [u.speaker for u in manifest.utterances]
    parts = [table(("", ""), rows), by("class", classes, seconds, manifest.classes)]
    if len(set(people)) < MANY:
        parts.append(by("speaker", people, seconds, sorted(set(people))))
    return "\n\n".join([*parts, folds(corpus, manifest)])


def by(what: str, groups: Sequence[str], seconds: Sequence[float], order: Sequence[str]) -> str:
    """Number and length of the utterances of each group."""
    lengths: dict[str, list[float]] = {group: [] for group in order}
    for group, length in zip(groups, seconds, strict=True):
        lengths[group].append(length)
    rows = [
        (group, f"{len(own):,}", f"{sum(own) / 60:.1f}", f"{median(own):.2f}") for group, own in lengths.items() if own
    ]
    return table((what, "utterances", "minutes", "median seconds"), rows)


def folds(corpus: Corpus, manifest: Manifest) -> str:
    """What the folds of each protocol are, whatever it promises."""
    from sertbench import gate

    rows: list[Sequence[str]] = []
    for protocol in corpus.protocols:
        try:
            split = protocol.split(manifest.utterances)
            shared = gate.table(gate.overlaps(manifest, split, {}))
        except ProtocolError as error:
            rows.append((f"`{protocol.name}`", f"does not fit: {error}", "", "", "", ""))
            continue
        flags = asdict(gate.flags(manifest, split))
        shown = ("speaker_independent", "text_independent", "val_speaker_overlap")
        yes = [gate.flag_in_words(name, flags[name], shared) for name in shown]
        rows.append((f"`{protocol.name}`", str(len(split.folds)), *yes, f"`{split.sha256[:16]}`"))
    head = (
        "protocol",
        "folds",
        "speaker-independent",
        "text-independent",
        "validation shares speakers with train",
        "split",
    )
    return table(head, rows)
