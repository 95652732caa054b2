"""A complete nEMO of empty files, as its repository has it: samples and a table of what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sertbench.datasets.nemo import Nemo

HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    names = sorted(Nemo().expected_ids())
    fill(root / "samples", (f"{name}.wav" for name in names))
    lines = [HEADER]
    for name in names:
        speaker, emotion, number = name.split("_")
        lines.append(f"{name}.wav\t{emotion}\tZdanie {number}.\tzdanie {number}\t        {speaker}\tfemale\t23")
    (root / "data.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
