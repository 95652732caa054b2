"""Hidden states of a frozen speech encoder, per utterance, kept in the cache by the hash of the audio.

Each utterance goes through the encoder alone and unpadded: with padding, encoders whose first layer has a group norm
(BASE models of wav2vec 2.0, HuBERT, WavLM) give other values, mask or not. On a GPU, utterances of exactly equal length
go together. The waveform is brought in as the checkpoint's own preprocessor says (`do_normalize`). Whisper alone always
sees 30 s, filled up with zeros, as it was trained; of what it gives, the frames of the utterance are kept, and a longer
utterance is cut every 30 s.

    <cache>/ssl/<checkpoint>-<key>/<hash of audio>.npy    (2 H, layers) float32, or frames (L * H, T) float16
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from sertbench import audio, pretrained
from sertbench.errors import AudioError
from sertbench.extraction import Extracted, in_order
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.machine import cores
from sertbench.pretrained_spec import FRAME, SslSpec
from sertbench.torch_settings import restore_defaults
from sertbench.utterance_features import keep

SSL_VERSION = 1  #        raised whenever the same checkpoint and audio give other values
LEAST = SAMPLE_RATE // 10  # samples; shorter ones are filled up with zeros: the encoders need 400
TOGETHER = 8  #           utterances of equal length that a GPU takes at once
LOOK_AHEAD = 256  #       utterances among which equal lengths are looked for
WHISPER_SAMPLES = 30 * SAMPLE_RATE
PROBE = 3.0  #            seconds of noise on which the speed is measured

Item = tuple[Path, str]  # a file and the hash of its audio


class Encoder:
    """A frozen checkpoint, for many threads."""

    def __init__(self, spec: SslSpec) -> None:
        from transformers import AutoFeatureExtractor

        restore_defaults()
        folder = pretrained.folder_of(spec.sha256)
        self.spec = spec
        self.network = pretrained.load_network(folder).to(spec.device)
        with pretrained.quiet():
            self.prepare: Any = AutoFeatureExtractor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        # Rotary positions are cached in the module itself, so its callers take turns.
        rotary = getattr(self.network.config, "position_embeddings_type", "") == "rotary"
        self._turn: AbstractContextManager[object] = threading.Lock() if rotary else nullcontext()

    @torch.inference_mode()
    def hidden_states(self, waves: np.ndarray) -> Tensor:
        """All layers of equally long utterances: waves (B, n) float32 at 16 kHz, to (B, layers, T, H)."""
        waves = np.pad(waves, ((0, 0), (0, max(0, LEAST - waves.shape[1]))))
        if self.spec.family != "whisper":
            return self._layers(waves)
        pieces = []
        for start in range(0, waves.shape[1], WHISPER_SAMPLES):
            piece = waves[:, start : start + WHISPER_SAMPLES]
            pieces.append(self._layers(piece)[:, :, : -(-piece.shape[1] // FRAME)])
        return torch.cat(pieces, dim=2)

    def _layers(self, waves: np.ndarray) -> Tensor:
        given = dict(self.prepare(list(waves), sampling_rate=SAMPLE_RATE, return_tensors="pt"))
        if self.spec.family != "wav2vec2-bert":  # it alone pads, to an even number of frames
            given.pop("attention_mask", None)
        given = {name: value.to(self.spec.device) for name, value in given.items()}
        with self._turn:
            states = self.network(**given, output_hidden_states=True).hidden_states
        layers = torch.stack(states, dim=1)
        mask = given.get("attention_mask")
        return layers if mask is None else layers[:, :, : int(mask[0].sum())]

    def values(self, waves: np.ndarray) -> np.ndarray:
        """What is kept of utterances (B, n): (B, 2 H, layers) float32, or the frames of the chosen layers, float16."""
        states = self.hidden_states(waves)
        if self.spec.kind == "ssl":
            exact = states.double()
            both = torch.cat([exact.mean(2), exact.std(2, correction=0)], dim=2)  # (B, layers, 2 H)
            return both.transpose(1, 2).contiguous().float().cpu().numpy()
        chosen = states[:, list(self.spec.chosen)].transpose(2, 3)  # (B, L, H, T)
        return chosen.reshape(len(waves), self.spec.rows, -1).half().cpu().numpy()


def kept_in(spec: SslSpec, channel: str, cache: Path) -> Path:
    """The folder of what is kept per utterance. All layers' statistics are kept; of frames only the chosen layers'."""
    settings = [SSL_VERSION, pretrained.versions(), soundfile.__libsndfile_version__, soxr.__version__, spec.sha256]
    settings += [spec.kind, spec.device, channel, "" if spec.kind == "ssl" else list(spec.chosen)]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    return cache / "ssl" / f"{spec.checkpoint.rpartition('/')[2]}-{key}"


class Extraction:
    """The values of a corpus's utterances: read where they were kept, computed and kept where they were not."""

    def __init__(self, spec: SslSpec, channel: str, cache: Path) -> None:
        self.spec = spec
        self.channel = channel
        self.folder = kept_in(spec, channel, cache)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.utime(self.folder)  # when it was last used (see resources.trim_cache)
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """Loaded when a first utterance needs it."""
        with self._loading:
            self._encoder = self._encoder or Encoder(self.spec)
        return self._encoder

    def values(self, item: Item) -> np.ndarray:
        """The values of one utterance."""
        path, sha256 = item
        values = self.kept(sha256)
        if values is None:
            values = self.encoder.values(audio.load(path, self.channel)[None])[0]
            self.keep(path, sha256, values)
        return values

    def fill(self, items: Sequence[Item]) -> None:
        """Compute what is missing of some utterances, those of equal length together."""
        groups: dict[int, list[tuple[Path, str, np.ndarray]]] = {}
        for path, sha256 in {item[1]: item for item in items}.values():
            if self.kept(sha256) is None:
                wave = audio.load(path, self.channel)
                groups.setdefault(len(wave), []).append((path, sha256, wave))
        for group in groups.values():
            for start in range(0, len(group), TOGETHER):
                part = group[start : start + TOGETHER]
                made = self.encoder.values(np.stack([wave for _, _, wave in part]))
                for (path, sha256, _), values in zip(part, made, strict=True):
                    self.keep(path, sha256, values)

    def kept(self, sha256: str) -> np.ndarray | None:
        """The values in the cache; None if they are absent or damaged."""
        try:
            values: np.ndarray = np.load(self.folder / f"{sha256}.npy")
        except (OSError, ValueError, EOFError):
            return None
        layers = self.spec.depth + 1
        whole = values.ndim == 2 and values.shape[0] == self.spec.rows and values.shape[1] > 0
        return values if whole and (self.spec.kind == "ssl_frames" or values.shape[1] == layers) else None

    def keep(self, path: Path, sha256: str, values: np.ndarray) -> None:
        """Put values into the cache. AudioError if some are no numbers."""
        if not np.isfinite(values).all():
            raise AudioError(
                f"{path}: {self.spec.checkpoint} gives values that are no numbers, or too large for 16 bits. Listen to "
                "the file; if it is sound, the checkpoint is not"
            )
        keep(self.folder / f"{sha256}.npy", values)


def extract_all(
    paths: Sequence[Path],
    audio_sha256: Sequence[str],
    channel: str,
    spec: SslSpec,
    cache: Path,
    length: int | None,
    step: int,
) -> Generator[Extracted]:
    """Items of each file, in order: one of statistics or of a whole utterance, or windows of `length` samples."""
    extraction, items = Extraction(spec, channel, cache), list(zip(paths, audio_sha256, strict=True))
    if spec.device == "cpu":
        return in_order(lambda item: cut(extraction.values(item), spec, length, step), items)

    def ahead() -> Generator[Extracted]:
        for start in range(0, len(items), LOOK_AHEAD):
            some = items[start : start + LOOK_AHEAD]
            extraction.fill(some)
            yield from (cut(extraction.values(item), spec, length, step) for item in some)

    return ahead()


def cut(values: np.ndarray, spec: SslSpec, length: int | None, step: int) -> Extracted:
    """Items of one utterance from what is kept of it.

    Windows are cut from the frames of the whole utterance, which know what is outside of the window; their first frames
    are those nearest to the starts of `feature_store.windows`. What a window has beyond the utterance is zero.
    """
    none = np.zeros((0, 2, 0))
    if spec.kind == "ssl":
        chosen = np.ascontiguousarray(values[:, list(spec.chosen)], np.float32)
        return Extracted(chosen[None], none, np.array([chosen.shape[1]]))
    whole = np.ascontiguousarray(values, np.float32)
    if length is None:
        parts, valid = whole[None], np.array([whole.shape[1]])
    else:
        T, samples = spec.frames(length), whole.shape[1] * FRAME
        starts = np.arange(0, max(samples - length, 0) + 1, step) // FRAME
        parts = np.zeros((len(starts), len(whole), T), np.float32)
        valid = np.minimum(T, whole.shape[1] - starts)
        for part, start, n in zip(parts, starts, valid, strict=True):
            part[:, :n] = whole[:, start : start + n]
    exact = parts.astype(np.float64)
    return Extracted(parts, np.stack([exact.sum(2), np.square(exact).sum(2)], axis=1), valid)


@dataclass(frozen=True)
class Outlook:
    """What an extraction takes."""

    missing: int  #   utterances that are not kept yet
    seconds: float  # of work on this machine
    bytes: int  #     in the cache in the end, of what is missing and of the features of this run


def outlook(
    spec: SslSpec, channel: str, cache: Path, audio_sha256: Sequence[str], seconds: Sequence[float], items: int, T: int
) -> Outlook:
    """What is to be computed and what it will take, from one timed utterance of noise on one thread.

    `items` and `T` are the items of the run and their columns.
    """
    folder = kept_in(spec, channel, cache)
    there = {path.stem for path in folder.glob("*.npy")} if folder.is_dir() else set()
    wanted = dict(zip(audio_sha256, seconds, strict=True))
    missing = {sha256: length for sha256, length in wanted.items() if sha256 not in there}
    frames = SAMPLE_RATE / FRAME * sum(missing.values())
    each = 4 * 2 * spec.hidden * (spec.depth + 1) * len(missing)
    kept_bytes = each if spec.kind == "ssl" else 2 * spec.rows * frames
    rate = pace(spec) if missing else 0.0
    workers = cores() if spec.device == "cpu" else 1
    total = int(kept_bytes) + 4 * items * spec.rows * T
    return Outlook(len(missing), rate * sum(missing.values()) / workers, total)


def pace(spec: SslSpec) -> float:
    """Seconds of work per second of speech, on one thread, measured on noise."""
    encoder, threads = Encoder(spec), torch.get_num_threads()
    noise = np.random.default_rng(0).standard_normal((1, round(PROBE * SAMPLE_RATE))).astype(np.float32)
    torch.set_num_threads(1)
    try:
        encoder.values(noise[:, : SAMPLE_RATE // 2])
        started = time.perf_counter()
        encoder.values(noise)
        return (time.perf_counter() - started) / PROBE
    finally:
        torch.set_num_threads(threads)
