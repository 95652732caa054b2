"""A complete nEMO of empty files, as its repository has it: samples and a table of what is said."""

from __future__ import annotations

from pathlib import Path

from sertbench.datasets.nemo import Nemo

HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"


def build(_: str, root: Path) -> None:
    samples = root / "samples"
    samples.mkdir(parents=True)
    lines = [HEADER]
    for name in sorted(Nemo().expected_ids()):
        speaker, emotion, number = name.split("_")
        (samples / f"{name}.wav").touch()
        lines.append(f"{name}.wav\t{emotion}\tZdanie {number}.\tzdanie {number}\t        {speaker}\tfemale\t23")
    (root / "data.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
