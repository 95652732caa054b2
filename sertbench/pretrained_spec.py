"""Features that need a pre-trained checkpoint: their specification, light enough for `sertbench list`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sertbench.errors import UNKNOWN_USER, ConfigError

FRAME = 320  # samples between two frames of every supported encoder: 50 per second
LAYERS = re.compile(r"all|last|\d+|\d+-\d+")
HOW = "ssl:CHECKPOINT[:LAYERS][:frames], where LAYERS is all, last, 12 or 0-12"


@dataclass(frozen=True)
class SslSpec:
    """Hidden states of a pre-trained speech encoder, whose weights stay as they are.

    Kind `ssl`: an item is (2 H, L), mean and standard deviation of the H units over all frames of the utterance, means
    first, one column per layer. Kind `ssl_frames`: (L * H, T), layer below layer, 50 frames per second. Layer 0 is what
    the first block is given. A recipe states the sizes of the checkpoint that it names; `pretrained.resolve` replaces
    them by those of the checkpoint that is used, and adds its hash.
    """

    checkpoint: str  #     hub id or folder; of a folder only its name, once resolved
    layers: str = "all"  # all, last, "12" or "0-12"
    kind: Literal["ssl", "ssl_frames"] = "ssl"
    hidden: int = 768  #   H
    depth: int = 12  #     blocks: there are depth + 1 layers
    family: str = ""  #    as transformers calls it
    sha256: str = ""  #    of weights and configuration
    device: str = "cpu"  # where it is computed: last digits differ between a CPU and a GPU

    @property
    def chosen(self) -> tuple[int, ...]:
        """The layers as numbers. ConfigError for one that the checkpoint does not have."""
        if self.layers in ("all", "last"):
            return tuple(range(self.depth + 1)) if self.layers == "all" else (self.depth,)
        first, _, last = self.layers.partition("-")
        known = LAYERS.fullmatch(self.layers) is not None
        if not known or not int(first) <= int(last or first) <= self.depth:
            raise ConfigError(
                f"--features: layers {self.layers} of {self.checkpoint}: it has 0 to {self.depth} (0: the input of the "
                "first block). Type all, last, one number or a range such as 6-9"
            )
        return tuple(range(int(first), int(last or first) + 1))

    @property
    def rows(self) -> int:
        """Rows F of an item: 2 H, or L * H for frames."""
        return 2 * self.hidden if self.kind == "ssl" else len(self.chosen) * self.hidden

    @property
    def summary(self) -> str:
        """What a list of models says: "ssl wavlm-base 0-12"."""
        return f"{self.kind} {self.checkpoint.rpartition('/')[2]} {self.layers}"

    @property
    def label(self) -> str:
        """The cell of the leaderboard: two checkpoints of one name are two rows."""
        return f"ssl:{self.checkpoint}@{self.sha256[:8]}:{self.layers}{':frames' * (self.kind == 'ssl_frames')}"

    def frames(self, samples: int) -> int:
        """Columns T of an item: the layers, or 50 per second (at least one)."""
        return len(self.chosen) if self.kind == "ssl" else max(1, round(samples / FRAME))


@dataclass(frozen=True)
class WaveformSpec:
    """The waveform itself, (1, samples), for a network that is trained from a checkpoint on."""

    checkpoint: str
    kind: Literal["waveform"] = "waveform"
    normalise: bool = True  # zero mean and unit variance per window, as the checkpoint's preprocessor does it
    family: str = ""
    sha256: str = ""

    @property
    def rows(self) -> int:
        """One."""
        return 1

    @property
    def summary(self) -> str:
        """What a list of models says: "waveform, wav2vec2-base"."""
        return f"waveform, {self.checkpoint.rpartition('/')[2]}"

    @property
    def label(self) -> str:
        """The cell of the leaderboard."""
        return f"waveform:{self.checkpoint}@{self.sha256[:8]}"

    def frames(self, samples: int) -> int:
        """Columns T of a window: its samples."""
        return samples


Pretrained = SslSpec | WaveformSpec


def ssl(checkpoint: str, layers: str = "all", hidden: int = 768, depth: int = 12) -> SslSpec:
    """Mean and standard deviation of each layer over an utterance; sizes by default those of BASE models."""
    return SslSpec(checkpoint, layers, "ssl", hidden, depth)


def ssl_frames(checkpoint: str, layers: str = "last", hidden: int = 768, depth: int = 12) -> SslSpec:
    """Hidden states frame by frame; by default of the last layer."""
    return SslSpec(checkpoint, layers, "ssl_frames", hidden, depth)


def waveform(checkpoint: str) -> WaveformSpec:
    """Waveforms for a network that is trained from this checkpoint on."""
    return WaveformSpec(checkpoint)


def parse(text: str) -> Pretrained | None:
    """What `--features ssl:…` or `waveform:…` asks for; None for other features. ConfigError for what cannot be."""
    found = _parsed(text)
    if found is not None:
        refuse_unknown_user(found.checkpoint)
    return found


def refuse_unknown_user(checkpoint: str) -> None:
    """ConfigError for a checkpoint's folder that begins with a user whom nobody knows."""
    try:
        Path(checkpoint).expanduser()
    except RuntimeError:
        raise ConfigError(f"checkpoint {checkpoint} cannot be read: {UNKNOWN_USER}") from None


def _parsed(text: str) -> Pretrained | None:
    """As `parse`, whatever the checkpoint is."""
    word, _, rest = text.partition(":")
    if word == "waveform":
        if not rest:
            raise ConfigError("--features waveform: which checkpoint? Type waveform:FOLDER or waveform:HUB/ID")
        return WaveformSpec(rest)
    if word != "ssl":
        return None
    rest, frames = (rest.removesuffix(":frames"), ":frames" in rest[-7:])
    head, _, tail = rest.rpartition(":")
    checkpoint, layers = (head, tail) if head and LAYERS.fullmatch(tail) else (rest, "")
    if not checkpoint or ":" in checkpoint:
        wrong = f"{checkpoint.rpartition(':')[2]!r} are no layers" if checkpoint else "which checkpoint?"
        raise ConfigError(f"--features {text}: {wrong}. Type {HOW}")
    if frames:
        return SslSpec(checkpoint, layers or "last", "ssl_frames")
    return SslSpec(checkpoint, layers or "all")
