"""MSP-Podcast's layout, small: no release has published its numbers per emotion, so there is no readme to tell one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

SPLITS = {"Train": 40, "Development": 20, "Test1": 20, "Test2": 20, "Test3": 5}
HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    """In each part, turns of all labels in turn by four talkers; a fifth of the training part is by unknown ones."""
    (root / "Labels").mkdir(parents=True)
    names, rows, parts = [], [HEADER], []
    for k, (split, n_turns) in enumerate(SPLITS.items()):
        for n in range(n_turns):
            name = f"MSP-PODCAST_{k:04d}_{n:04d}.wav"
            names.append(name)
            parts.append(f"{split}; {name}")
            talker, gender = ("Unknown", "Unknown") if split == "Train" and n % 5 == 0 else (f"{k}{n % 4}", "Female")
            if split != "Test3":
                rows.append(f"{name},{'NHASFDCUOX'[n % 10]},3.2,4.1,3.9,{talker},{gender},{split}")
    fill(root / "Audios", names)
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join(rows))
    (root / "Partition.txt").write_text("\n".join(parts))
