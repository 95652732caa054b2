"""A table of the user's own with the labels that the adapter names before there is one, and a split of its speakers."""

from __future__ import annotations

from itertools import product
from pathlib import Path

PARTS = {"ann": "train", "ben": "train", "cat": "train", "dan": "val", "eve": "test", "fay": "test"}


def build(_: str, root: Path) -> None:
    """`root` is the table; its empty audio files lie beside it."""
    lines = ["path,label,speaker,gender,text,partition"]
    for speaker, label, text in product(PARTS, ("neutral", "happy", "sad", "angry"), "12"):
        path = root.parent / "audio" / f"{speaker}-{label}-{text}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        gender = "male" if speaker in ("ben", "dan") else "female"
        lines.append(f"audio/{path.name},{label},{speaker},{gender},{text},{PARTS[speaker]}")
    root.write_text("\n".join(lines) + "\n")
