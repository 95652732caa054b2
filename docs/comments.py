"""Fields are explained by the comment behind them: here it becomes their text in the API reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

COMMENT = re.compile(r"\s#\s+(?!fmt:|noqa|type:)(\S.*)$")


class Comments(griffe.Extension):
    """Give attributes without a docstring the comment of their line, and of comment lines right below."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Called by griffe for each attribute that it finds."""
        if attr.docstring is None and attr.endlineno:
            said = comment(attr.lines_collection[attr.filepath], attr.endlineno)
            if said:
                attr.docstring = griffe.Docstring(said, lineno=attr.endlineno, parent=attr)


def comment(lines: list[str], last: int) -> str:
    """The comment behind the line numbered `last` (from 1) and its continuation.

    >>> comment(["x: int  # seconds,", "#           rounded", "y: int"], 1)
    'seconds, rounded'
    """
    found = COMMENT.search(lines[last - 1])
    if not found:
        return ""
    said = [found[1]]
    for line in lines[last:]:
        more = re.match(r"\s*#\s+(.*)", line)
        if not more:
            break
        said.append(more[1])
    return " ".join(said)
