"""MELD's layout with its published numbers of turns per split and emotion; who says what is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
SPEAKERS = ("Joey", "Ross", "Rachel", "Phoebe", "Monica", "Chandler", "All", "Guest")
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
COUNTS = {
    ("train", "train_splits"): (4710, 1743, 1205, 1109, 683, 271, 268),
    ("dev", "dev_splits_complete"): (470, 163, 150, 153, 111, 22, 40),
    ("test", "output_repeated_splits_test"): (1256, 402, 281, 345, 208, 68, 50),
}
ABSENT = {"train": "dia125_utt3", "dev": "dia110_utt7"}  # both neutral


def build(root: Path, fill: Callable[[Path, Iterable[str]], None]) -> None:
    """Ten turns per dialogue; in train the neutral ones come first, elsewhere last."""
    for (split, name), counts in COUNTS.items():
        emotions = [emotion for emotion, n in zip(EMOTIONS, counts, strict=True) for _ in range(n)]
        names, lines = [], [HEADER]
        for n, emotion in enumerate(emotions if split == "train" else reversed(emotions)):
            speaker = SPEAKERS[n % len(SPEAKERS)]
            lines.append(f'{n},"Oh, {n}!",{speaker},{emotion},neutral,{n // 10},{n % 10},4,7,"00:20:57,256","00:21:00"')
            turn = f"dia{n // 10}_utt{n % 10}"
            if turn != ABSENT.get(split):
                names.append(f"{turn}.wav")
        if split == "test":
            names.append("final_videos_testdia93_utt6.wav")
        fill(root / split / name, names)
        (root / f"{split}_sent_emo.csv").write_text("\n".join(lines), encoding="utf-8")
