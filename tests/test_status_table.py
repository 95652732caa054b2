"""The table of `sertbench status` on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sertbench.commands.status import overview
from sertbench.progress import Display

DONE = ["emodb-glam", "emodb-glam-speaker5-0123456789", "done", "75/75", "-", ""]
FAILED = ["emodb-cnn", "emodb-cnn-speaker5-0123456789", "failed", "-", "-", "the disk under the cache is full by now"]


def shown(lines: list[list[str]], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    overview("runs in runs", lines, Display(console))
    return console.file.getvalue()


@pytest.mark.parametrize("lines", [[DONE], [DONE, FAILED], [FAILED]])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_names_stand_on_one_line_and_nothing_is_wider_than_the_terminal(lines, width):
    said = shown(lines, width)

    assert max(map(len, said.splitlines())) <= width
    assert all(row[0] in said for row in lines)
    assert all(row[1] in said for row in lines) or "sertbench status RUN" in " ".join(said.split())
    assert len(said.splitlines()) < 16


def test_a_wide_terminal_has_all_that_there_is():
    said = shown([DONE, FAILED], 160)

    assert all(cell in said for row in (DONE, FAILED) for cell in row)
    assert "left" not in said  # nothing runs


def test_a_narrow_terminal_has_reasons_below_and_no_empty_column():
    assert " ".join(shown([DONE, FAILED], 40).split()).endswith("emodb-cnn: " + FAILED[-1])
    assert "why" not in shown([DONE], 160)
    assert "folder" not in shown([["made-x", "-", "failed", "-", "-", "why"]], 160)
