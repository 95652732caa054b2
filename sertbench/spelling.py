"""Names that a person reads as one: in another letter case, with other blanks, or with other code points."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cache


@cache
def folded(name: str) -> str:
    """What a name has in common with all its spellings.

    >>> folded("Ann  Lee") == folded("ANN lee")
    True
    """
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")  # no width
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())


def quoted(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names in quotes, with escapes where they could not be told apart otherwise."""
    looks = {unicodedata.normalize("NFC", name) for name in names}
    return tuple(map(repr if len(looks) == len(names) else ascii, names))


class Spellings:
    """The names in the columns of a table, and the line where each spelling comes first."""

    def __init__(self) -> None:
        self._lines: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def note(self, column: str, name: str, line: int) -> None:
        """Take in a cell."""
        self._lines[column, folded(name)].setdefault(name, line)

    def clashes(self) -> Iterator[tuple[str, str]]:
        """Each column with names that are spelt in several ways, and these in words, with their lines."""
        for (column, _), lines in self._lines.items():
            if len(lines) > 1:
                said = zip(quoted(tuple(lines)), lines.values(), strict=True)
                yield column, " and ".join(f"{name} (line {line})" for name, line in said)
