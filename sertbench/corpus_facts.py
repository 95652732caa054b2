"""What can be said of a corpus without its data, in words: for lists and cards."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from textwrap import dedent

from sertbench.corpus import Corpus

ACCESS = {"free": "by hand", "form": "form", "request": "on request"}
UNKNOWN = "-"
CITATION = re.compile(r"(?P<authors>.+?): (?P<title>.+?)(?<!vs)[.?] (?P<venue>.+)")  # "vs." is no end of a title
YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True)
class Facts:
    """Facts of a corpus as text, "-" where it is not known; counts and hours are of the default label set."""

    language: str
    speakers: str
    classes: str
    utterances: str
    hours: str
    licence: str  #  its name
    access: str  #   in a word or two
    unranked: str  # why its rows are never ranked; empty if they are


def facts(corpus: Corpus) -> Facts:
    """The facts of an adapter."""
    default = corpus.label_sets[0]
    total = sum(default.counts.values())
    access = "download" if corpus.archives else ACCESS[corpus.release]
    if corpus.synthetic or corpus.tabular:
        access = "built in" if corpus.synthetic else "your own"
    return Facts(
        language=corpus.language,
        speakers=str(len(default.speakers) or corpus.n_speakers or UNKNOWN),
        classes=UNKNOWN if corpus.tabular else str(len(default.classes)),
        utterances=f"{total:,}" if total else UNKNOWN,
        hours=f"{corpus.hours:.2f}" if corpus.hours else UNKNOWN,
        licence=licence_name(corpus),
        access=access,
        unranked="synthetic" if corpus.synthetic else corpus.unranked,
    )


def licence_name(corpus: Corpus) -> str:
    """The licence without the remarks on it."""
    return re.split(r"; | \(|: |, ", corpus.licence, maxsplit=1)[0]


def summary(corpus: Corpus) -> str:
    """The first line of the adapter's class."""
    return (inspect.getdoc(type(corpus)) or "").partition("\n")[0]


def description(corpus: Corpus) -> str:
    """What the adapter's file says of the corpus: who speaks what, how it was recorded, what is wrong with it."""
    for cls in type(corpus).__mro__:  # `Corpus.at` may have derived a class of its own
        module = inspect.getmodule(cls)
        if module is not None and cls.__module__ != "abc" and module.__doc__:
            return dedent(module.__doc__).strip()
    return summary(corpus)


@dataclass(frozen=True)
class Citation:
    """A citation in parts."""

    authors: tuple[str, ...]
    title: str
    venue: str
    year: str  # the last one in it; empty if there is none


def cited(corpus: Corpus) -> Citation | None:
    """The citation in parts; None if it is not of the form "A. One, B. Two: Title. Venue, year"."""
    parts = CITATION.fullmatch(corpus.citation)
    if not parts:
        return None
    years = YEAR.findall(parts["venue"])
    authors = tuple(parts["authors"].split(", "))
    return Citation(authors, parts["title"], parts["venue"], years[-1] if years else "")


def bibtex(name: str, corpus: Corpus) -> str:
    """The citation as a BibTeX entry; empty if there is none."""
    parts = cited(corpus)
    if parts is None:
        return ""
    fields = {"author": " and ".join(parts.authors), "title": f"{{{parts.title}}}", "howpublished": parts.venue}
    if parts.year:
        fields["year"] = parts.year
    lines = [f"  {key} = {{{value.replace('&', chr(92) + '&')}}}," for key, value in fields.items()]
    return "\n".join([f"@misc{{{name},", *lines, "}"])
