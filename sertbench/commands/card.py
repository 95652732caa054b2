"""`sertbench card`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import file_name
from sertbench.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from sertbench.corpus import Corpus, Manifest

HELP = "describe a corpus: a Markdown card, or Croissant metadata of its manifest, without audio"
FORMATS = ("markdown", "croissant")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which corpus, and how to write it."""
    parser.add_argument("name", metavar="NAME", help="a corpus, or path/to/adapter.py[:Class]")
    parser.add_argument("--data", type=Path, metavar="PATH", help="its data: adds counts and durations as measured")
    parser.add_argument("--labels", help="label set to measure (default: the corpus's first)")
    parser.add_argument("--format", choices=FORMATS, default="markdown", help="default: markdown")
    parser.add_argument("--out", type=file_name, metavar="FILE", help="write there instead of to the screen")


def execute(options: argparse.Namespace) -> int:
    """Write the card."""
    from sertbench import cards, plugins

    loaded = plugins.load_corpus(options.name)
    corpus: Corpus = loaded.corpus
    out: Path | None = options.out
    if options.labels is not None and options.data is None:
        raise ConfigError("--labels chooses what is measured: add --data PATH")
    if options.format == "croissant" and options.data is not None and out is None:
        raise ConfigError(
            "with --data the manifest becomes a CSV file beside the metadata: say where, as in "
            f"`--out {loaded.name}.json`"
        )
    manifest = None
    if options.data is not None:
        corpus, manifest = measure(loaded.name, corpus, options.data, options.labels)
    if options.format == "markdown":
        write(out, cards.markdown(loaded.name, corpus, manifest))
        return 0
    from sertbench import croissant

    rows, beside = b"", ""
    if manifest is not None and out is not None:
        rows, beside = croissant.table(manifest), f"{out.stem}.csv"
        if beside == out.name:
            raise ConfigError(f"--out {out}: the manifest is to be {beside}. Give the metadata another ending: .json")
    made = croissant.metadata(loaded.name, corpus, rows, beside, manifest.label_set if manifest else "")
    if rows and out is not None:
        write(out.with_name(beside), rows.decode())
    write(out, croissant.text_of(made))
    return 0


def measure(name: str, corpus: Corpus, data: Path, labels: str | None) -> tuple[Corpus, Manifest]:
    """The corpus as it lies there, and its manifest."""
    from sertbench.config import cache_folder
    from sertbench.corpus import build_manifest, locate

    cache = cache_folder()
    root = locate(name, corpus, data, cache)
    corpus = corpus.at(root)
    return corpus, build_manifest(name, corpus, root, corpus.label_set(labels), cache=cache)


def write(out: Path | None, text: str) -> None:
    """To a file, or to the screen as it is."""
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise StorageError(f"--out {out} cannot be written: {error.strerror or error}") from error
    sys.stderr.write(f"written: {out}\n")
