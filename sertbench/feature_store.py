"""Features of a whole corpus: cut into windows, computed once, kept on disk, memory-mapped by every worker process.

Features that are one row of values per utterance (`UtteranceSpec`) are items of one frame.

A folder `features/<key>/` of the cache holds `values.f32` (the items one after the other, each (F, T) float32),
`sums.f64` (per item (2, F) float64: sum and sum of squares over its valid frames), `first.npy`, `frames.npy` and
`meta.json`. The key is a hash of all that the values depend on, so a folder is right or it is absent: it is written
beside its place and renamed when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from sertbench import utterance_features
from sertbench.errors import ConfigError, StorageError
from sertbench.extraction import Extracted, extract_all
from sertbench.feature_spec import SAMPLE_RATE, Features, UtteranceSpec

FEATURES_VERSION = 1  # raised whenever the same audio and settings give other values or another layout
STALE = 24 * 3600  # seconds after which an unfinished folder was left by a killed process


def windows(samples: int, window: float | None, hop: float | None) -> np.ndarray:
    """Start samples of an utterance's windows, (n,), int64, n >= 1; `window` and `hop` in seconds, 16 kHz.

    Starts are 0, hop, 2 hop, ... while the window fits; a shorter utterance has one window, zero-padded at its end. As
    in the published recipes, a tail shorter than one hop is in no window. A `window` of None is the whole utterance.
    """
    if window is None:
        return np.zeros(1, np.int64)
    length, step = _in_samples(window, hop)
    return np.arange(0, max(samples - length, 0) + 1, step, dtype=np.int64)


def _in_samples(window: float, hop: float | None) -> tuple[int, int]:
    length, step = round(window * SAMPLE_RATE), round((hop or 0.0) * SAMPLE_RATE)
    if length < 1 or step < 1:
        raise ConfigError(
            f"window {window} s with hop {hop} s: both must be positive (GLAM has window 1.8, hop 0.2). "
            "For whole utterances set window to None"
        )
    return length, step


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Features of the utterances of a manifest, in its order. Pickles as its folder; values are read on demand.

    An item is one window, or one whole utterance; items of utterance i are range(first[i], first[i + 1]).
    """

    folder: Path
    input_shape: tuple[int, int]  # (F, T); T is 0 for whole utterances
    first: np.ndarray  #            (n_utterances + 1,), int64
    frames: np.ndarray  #           (n_items,), int64: frames that are centred on the utterance, not on its padding
    pooled: bool = False  #         one row of values per utterance: nothing is left to take statistics of

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a complete folder. Raises StorageError if it is missing, incomplete or of another layout."""
        try:
            meta = json.loads((folder / "meta.json").read_text())
            if (meta["version"], meta["bytes"]) != (FEATURES_VERSION, _sizes(folder)):
                raise ValueError("cut short, or of another version")
            F, T = meta["input_shape"]
            with suppress(OSError):
                os.utime(folder / "meta.json")  # when it was last used (see resources.trim_cache)
            first, frames = np.load(folder / "first.npy"), np.load(folder / "frames.npy")
            return cls(folder, (F, T), first, frames, meta.get("pooled", False))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{folder} holds no complete features ({error}). Run again to compute them") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.folder,)

    @cached_property
    def _begin(self) -> np.ndarray:
        """Where each whole utterance's values begin: (n_items,)."""
        begin: np.ndarray = self.input_shape[0] * (np.cumsum(self.frames) - self.frames)
        return begin

    @cached_property
    def _values(self) -> np.ndarray:
        """(n_items, F, T), or one row of all values for whole utterances."""
        flat = self._map("values.f32", np.float32)
        return flat.reshape(-1, *self.input_shape) if self.input_shape[1] else flat

    @cached_property
    def _sums(self) -> np.ndarray:
        """(n_items, 2, F), float64."""
        return self._map("sums.f64", np.float64).reshape(-1, 2, self.input_shape[0])

    def _map(self, name: str, dtype: type[np.generic]) -> np.ndarray:
        try:
            return np.asarray(np.memmap(self.folder / name, dtype, "r"))
        except OSError as error:
            raise StorageError(f"{self.folder} was removed or changed ({error}). Run again to rebuild it") from error

    def items_of(self, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All items of some utterances, in their order, and for each its owner: the position in `utterances`."""
        utterances = np.asarray(utterances, dtype=np.int64)
        begin = self.first[utterances]
        counts = self.first[utterances + 1] - begin
        owner = np.repeat(np.arange(len(utterances)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(owner)) + (begin - before)[owner], owner

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Items as x (B, F, T), float32, and their valid frames (B,), int64.

        Whole utterances are padded with zeros to the longest of the batch. A window that is longer than its utterance
        holds the features of the zero-padded audio instead.
        """
        items = np.asarray(items)
        lengths = self.frames[items]
        F, T = self.input_shape
        if T:
            return torch.from_numpy(self._values[items]), torch.from_numpy(lengths)
        x = np.zeros((len(items), F, lengths.max(initial=0)), np.float32)
        # Blocks are copied row by row: gathering all at once by index takes 7 to 18 times as long.
        for row, begin, length in zip(x, self._begin[items], lengths, strict=True):
            row[:, :length] = self._values[begin : begin + F * length].reshape(F, length)
        return torch.from_numpy(x), torch.from_numpy(lengths)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature row over the valid frames of `items`: (F, 1) float32 each.

        The deviation is at least 1e-5, so that a constant row can be divided by it.
        """
        items = np.asarray(items)
        mean, std = self._spread(items, np.zeros(len(items), np.int64), 1)
        return mean.T.astype(np.float32), np.maximum(std, 1e-5).T.astype(np.float32)

    def functionals(self, utterances: np.ndarray) -> np.ndarray:
        """Mean and standard deviation over time of each feature row: (n, 2 * F) float32, one row per utterance.

        Taken over the valid frames of all items of the utterance. (n, F): the values as they are, if they are one row
        per utterance.
        """
        mean, std = self._spread(*self.items_of(utterances), len(utterances))
        if self.pooled:
            return mean.astype(np.float32)
        return np.concatenate([mean, std], axis=1).astype(np.float32)

    def _spread(self, items: np.ndarray, owner: np.ndarray, owners: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation per owner, (owners, F) float64 each."""
        total = np.zeros((owners, *self._sums.shape[1:]))
        for i in range(0, len(items), 4096):
            np.add.at(total, owner[i : i + 4096], self._sums[items[i : i + 4096]])
        mean, square = np.moveaxis(total, 1, 0) / np.bincount(owner, self.frames[items], owners)[:, None]
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def open_store(
    paths: Sequence[Path],
    audio_sha256: Sequence[str],
    spec: Features,
    window: float | None,
    hop: float | None,
    channel: str,
    cache: Path,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureStore:
    """Open the features of a corpus, computing them first where the cache does not hold them.

    `audio_sha256[i]` is the hash of the audio at `paths[i]`, `channel` what `audio.load` makes of several channels.
    `on_progress` gets the number of utterances done so far; it is not called when the features are in the cache.
    Raises AudioError for a file that cannot be used and StorageError for a cache that cannot be written.
    """
    folder = cache / "features" / cache_key(audio_sha256, spec, window, hop, channel)
    try:
        return FeatureStore.open(folder)
    except StorageError:
        pass  # absent, or half-written by something else than this module
    length, step = (None, 1) if window is None else _in_samples(window, hop)
    with _writing(folder):
        draft = _draft(folder)
        try:
            if isinstance(spec, UtteranceSpec):
                items = utterance_features.extract_all(paths, audio_sha256, channel, spec, cache)
            else:
                items = extract_all(paths, channel, spec, length, step)
            with closing(items) as computed:
                counts, frames = _stream(draft, computed, on_progress)
            np.save(draft / "first.npy", np.cumsum([0, *counts]))
            np.save(draft / "frames.npy", np.concatenate(frames))
            shape = (spec.rows, 0 if length is None else spec.frames(length))
            meta = {"version": FEATURES_VERSION, "input_shape": shape, "bytes": _sizes(draft), "spec": asdict(spec)}
            meta["pooled"] = isinstance(spec, UtteranceSpec)
            (draft / "meta.json").write_text(json.dumps(meta, indent=2))
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return FeatureStore.open(folder)


def cache_key(
    audio_sha256: Sequence[str], spec: Features, window: float | None, hop: float | None, channel: str
) -> str:
    """Hash of everything that the features of a corpus depend on, the decoder's and resampler's versions included."""
    settings: dict[str, Any] = {
        "version": FEATURES_VERSION,
        "libraries": [soundfile.__libsndfile_version__, soxr.__version__],
        "spec": asdict(spec),
        "window": window,
        "hop": hop,
        "channel": channel,
        "audio": list(audio_sha256),
    }
    if isinstance(spec, UtteranceSpec):
        settings["versions"] = utterance_features.versions(spec)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _stream(
    draft: Path, computed: Iterable[Extracted], on_progress: Callable[[int], None] | None
) -> tuple[list[int], list[np.ndarray]]:
    """Write values and sums as they come; give the items per utterance and the frames per item."""
    counts, frames = [], []
    with (draft / "values.f32").open("wb") as values, (draft / "sums.f64").open("wb") as sums:
        for done, part in enumerate(computed, 1):
            values.write(part.values.data)
            sums.write(part.sums.data)
            counts.append(len(part.frames))
            frames.append(part.frames)
            if on_progress:
                on_progress(done)
    return counts, frames


def _draft(folder: Path) -> Path:
    """A new folder beside `folder`; what killed processes left there is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f".{folder.name}-*"):
        with suppress(FileNotFoundError):  # another process has just completed it
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old, ignore_errors=True)
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    draft.mkdir()
    return draft


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file but the meta file."""
    return {name: (folder / name).stat().st_size for name in ("values.f32", "sums.f64", "first.npy", "frames.npy")}


def _publish(draft: Path, folder: Path) -> None:
    """Move a complete draft to its place, unless another process was first."""
    for path in draft.iterdir():  # or else a power cut could leave files of the right size without their values
        with path.open("rb") as file:
            os.fsync(file)
    try:
        draft.rename(folder)
    except OSError:  # something is there: the same features, or a broken folder
        try:
            FeatureStore.open(folder)
        except StorageError:
            shutil.rmtree(folder)
            draft.rename(folder)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do about a full disk or a read-only cache. Audio that cannot be read is an AudioError already."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"features cannot be written to {folder.parent}: {error.strerror or error}. "
            "Free some space there, or name another cache folder in $SERTBENCH_CACHE"
        ) from error
