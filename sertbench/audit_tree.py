"""How far a corpus's folder can be read: its utterances, what its adapter refuses, and which files lie around.

An adapter stops at the first thing that is wrong. Here a file that it refuses is noted and hidden from it, and it is
asked again, so that one report names them all.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sertbench import exclusions
from sertbench.corpus import Corpus, Utterance
from sertbench.corpus_files import AUDIO
from sertbench.errors import CorpusError
from sertbench.exclusions import name_from
from sertbench.selection import named, utterances

MOST_REFUSED = 50  # files; an adapter that refuses more of them is not asked again


@dataclass
class Tree:
    """A corpus's folder as far as it can be read."""

    corpus: Corpus  #                        as it lies there
    home: Path  #                            what names of files are told from
    utterances: list[Utterance] = field(default_factory=list)
    refused: list[tuple[Path | None, str]] = field(default_factory=list)  # file, if it is one, and the adapter's words
    whole: bool = False  #                   the adapter came to its end, but for the refused files
    audio: list[Path] = field(default_factory=list)  #   every audio file below, but for hidden ones
    twins: list[Path] = field(default_factory=list)  #   `._` files of macOS
    closed: list[str] = field(default_factory=list)  #   folders that cannot be listed, with the reason
    excluded: tuple[str, ...] = ()
    excusable: frozenset[str] = frozenset()

    def name(self, path: Path) -> str:
        """A file's path from the corpus's folder, for a report: any name can be printed."""
        return printable(name_from(path, self.home))

    def files(self) -> list[Path]:
        """The audio files that matter: of utterances and refused ones; all that there are where the adapter gave up."""
        chosen = [u.path for u in self.utterances] + [path for path, _ in self.refused if path]
        if not self.whole and not self.corpus.tabular:
            chosen += [path for path in self.audio if not self.leaves_out(path)]
        return sorted(set(chosen), key=os.fspath)

    def leaves_out(self, path: Path) -> bool:
        """Whether the user named a file as one to leave out."""
        return bool(self.excluded) and not {self.name(path), path.stem}.isdisjoint(self.excluded)


def printable(text: str) -> str:
    """Text with what is no UTF-8 and no single line written as escapes."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)


def read(corpus: Corpus, root: Path, excluded: Collection[str] = ()) -> Tree:
    """Read a corpus's folder as far as possible; `excluded` names what is left out.

    Raises ConfigError for an exclusion that the corpus does not know.
    """
    home = corpus.home(root)
    tree = Tree(corpus, home, excluded=tuple(sorted(excluded)))
    if not corpus.tabular:
        walk(home, tree)
    hidden: list[Path] = []
    while True:
        tree.utterances = []
        with exclusions.reading(home, excluded, hidden) as reading:
            try:
                tree.corpus = corpus.at(root)
                tree.utterances.extend(utterances(tree.corpus, root))
                tree.whole = True
                break
            except CorpusError as error:
                culprit = reading.current
                if not reading.names_refused():
                    tree.refused.append((culprit, printable(str(error))))
        if culprit is None or culprit in hidden or len(tree.refused) > MOST_REFUSED:
            break
        hidden.append(culprit)
    if excluded:
        found = {u.id for u in tree.utterances}
        tree.utterances = [u for u in tree.utterances if not named(u, home, excluded)]
        tree.excusable = reading.excusable | (found - {u.id for u in tree.utterances})
        exclusions.refuse_strangers(home, reading, found, corpus.expected_ids())
    return tree


def walk(home: Path, tree: Tree) -> None:
    """Note every audio file and every `._` twin below a folder."""

    def closed(error: OSError) -> None:
        tree.closed.append(printable(f"{error.filename}: {error.strerror}"))

    for folder, _, names in os.walk(home, onerror=closed):
        for name in names:
            if name.startswith("._"):
                tree.twins.append(Path(folder, name))
            elif not name.startswith(".") and name.lower().endswith(AUDIO):
                tree.audio.append(Path(folder, name))
