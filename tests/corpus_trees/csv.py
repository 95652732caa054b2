"""A table of the user's own with the labels that the adapter names before there is one, and a split of its speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

PARTS = {"ann": "train", "ben": "train", "cat": "train", "dan": "val", "eve": "test", "fay": "test"}


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    """`root` is the table; its empty audio files lie beside it."""
    names, lines = [], ["path,label,speaker,gender,text,partition"]
    for speaker, label, text in product(PARTS, ("neutral", "happy", "sad", "angry"), "12"):
        name = f"{speaker}-{label}-{text}.flac"
        names.append(name)
        gender = "male" if speaker in ("ben", "dan") else "female"
        lines.append(f"audio/{name},{label},{speaker},{gender},{text},{PARTS[speaker]}")
    fill(root.parent / "audio", names)
    root.write_text("\n".join(lines) + "\n")
