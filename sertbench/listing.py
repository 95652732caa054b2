"""What `sertbench list` shows; reads files and imports adapters, never torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from textwrap import shorten

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sertbench import claim, claim_file, corpus_facts, feature_spec, plugin_text, plugins
from sertbench.plugins import LoadedCorpus

WIDE = 190  # columns of a terminal with room for a sentence


def show(console: Console, what: Sequence[str]) -> None:
    """Print the tables of the named kinds."""
    wide = console.width >= WIDE
    corpora = cache(plugins.load_corpora)
    tables: dict[str, Callable[[], RenderableType]] = {
        "models": lambda: models(wide),
        "datasets": lambda: datasets(corpora()),
        "features": features,
        "protocols": lambda: protocols(corpora()),
        "claims": claims,
    }
    for name in what:
        console.print(tables[name]())


def table(title: str, *columns: str) -> Table:
    """An empty table in the common style."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def models(wide: bool = True) -> Table:
    """All architectures; `wide`: with what each is, in a sentence.

    Parameters are as their files state them, for the recipe's input and 4 classes; `check` verifies them.
    """
    columns = ["family", "year", "parameters", "features, window / hop", "paper", "from"]
    columns += ["what it is"] if wide else []
    made = table("models", "name", *columns)
    made.columns[3].justify = "right"
    for source in plugins.sources("models").values():
        size = f"{source.n_parameters:,}" if source.n_parameters else "-"
        paper = plugin_text.short(source.paper) or ("" if wide else source.summary)  # why a file cannot be read
        cells = [source.family, str(source.year or ""), size, source.features, paper, source.origin, source.summary]
        made.add_row(source.name, *(cell or "-" for cell in cells[: len(columns)]))
    return made


def datasets(corpora: Mapping[str, LoadedCorpus]) -> Group:
    """All corpora, and below the table why some are never ranked."""
    made = table(
        "datasets", "name", "language", "speakers", "classes", "utterances", "hours", "licence", "access", "ranked"
    )
    reasons = []
    for name, loaded in corpora.items():
        facts = corpus_facts.facts(loaded.corpus)
        licence = shorten(facts.licence, 28, placeholder="…")
        made.add_row(
            name, facts.language, facts.speakers, facts.classes, facts.utterances, facts.hours, licence, facts.access,
            "no" if facts.unranked else "yes",
        )  # fmt: skip
        if facts.unranked:
            reasons.append(f"not ranked: {name}, {facts.unranked}")
    for column in made.columns[2:6]:
        column.justify = "right"
    notes = [
        "classes, utterances and hours are of the default label set",
        "access: `download` with `sertbench download NAME`; `by hand`, after a `form` or on `request`: `sertbench card "
        "NAME` says where",
        *reasons,
    ]
    return Group(made, "", *(Text(note, style="dim") for note in notes))


def features() -> Table:
    """All kinds of features."""
    made = table("features", "name", "what it is")
    for name, text in feature_spec.KINDS.items():
        made.add_row(name, text)
    return made


def protocols(corpora: Mapping[str, LoadedCorpus]) -> Table:
    """All protocols of all corpora."""
    made = table("protocols", "dataset", "protocol (first: default)", "what it is")
    for name, loaded in corpora.items():
        for protocol in loaded.corpus.protocols:
            made.add_row(name, f"{protocol.name}/{protocol.version}", protocol.summary)
    return made


def claims() -> Table:
    """All published claims that `sertbench replay` knows."""
    made = table("claims", "name", "what it is", "datasets", "splits", "models")
    for name in claim.names():
        one = claim_file.load(name)
        columns = [c.dataset for c in one.corpora], [s.name for s in one.splits], [m.name for m in one.models]
        made.add_row(name, f"{one.title}. {one.paper}", *map(", ".join, columns))
    return made
