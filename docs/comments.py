"""Fields are explained by the comments behind them: here they become a table in the API reference."""

from __future__ import annotations

import re
from typing import Any

import griffe

COMMENT = re.compile(r"\s#\s+(?!fmt:|noqa|type:)(\S.*)$")


class Comments(griffe.Extension):
    """Give a class whose fields have comments a section of attributes."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe when it has read a class."""
        lines, rows = cls.lines_collection[cls.filepath], []
        for name, field in cls.attributes.items():
            said = comment(lines, field.endlineno) if field.lineno and field.endlineno else ""
            if said and not name.startswith("_"):
                rows.append(f"    {name} ({field.annotation}): {said}")
        if rows and cls.docstring:
            cls.docstring.value = "\n".join([cls.docstring.value, "", "Attributes:", *rows])


def comment(lines: list[str], last: int) -> str:
    """The comment behind the line numbered `last` (from 1), and its continuation on the lines below.

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
