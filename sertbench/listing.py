"""What `sertbench list` shows; reads files and imports adapters, never torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sertbench import claim, claim_file, feature_spec, plugins


def show(console: Console, what: Sequence[str]) -> None:
    """Print the tables of the named kinds."""
    tables = {"models": models, "datasets": datasets, "features": features, "protocols": protocols, "claims": claims}
    for name in what:
        console.print(tables[name]())


def table(title: str, *columns: str) -> Table:
    """An empty table in the common style."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def models() -> Table:
    """All architectures."""
    made = table("models", "name", "family", "year", "what it is", "from")
    for source in plugins.sources("models").values():
        made.add_row(source.name, source.family, str(source.year or ""), source.summary, source.origin)
    return made


def datasets() -> Table:
    """All corpora."""
    made = table("datasets", "name", "language", "label sets (first: default)", "ranked", "what it is")
    for name, source in plugins.sources("datasets").items():
        corpus = plugins.load_corpus(name).corpus
        sets = ", ".join(f"{s.name} ({sum(s.counts.values())})" if s.counts else s.name for s in corpus.label_sets)
        ranked = "no: synthetic" if corpus.synthetic else f"no: {corpus.unranked}" if corpus.unranked else "yes"
        made.add_row(name, corpus.language, sets, ranked, source.summary)
    return made


def features() -> Table:
    """All kinds of features."""
    made = table("features", "name", "what it is")
    for name, text in feature_spec.KINDS.items():
        made.add_row(name, text)
    return made


def protocols() -> Table:
    """All protocols of all corpora."""
    made = table("protocols", "dataset", "protocol (first: default)", "what it is")
    for name in plugins.names("datasets"):
        for protocol in plugins.load_corpus(name).corpus.protocols:
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
