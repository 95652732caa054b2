"""Features of a corpus in the cache: computed where they are not there, written beside their place, then renamed.

The key of a folder is a hash of all that its values depend on, so a folder is right or it is absent.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from sertbench import ssl_features, utterance_features
from sertbench.errors import StorageError
from sertbench.extraction import Extracted, extract_all, extract_wave
from sertbench.feature_spec import Features, SslSpec, UtteranceSpec, columns, pooled
from sertbench.feature_store import FEATURES_VERSION, FeatureStore, in_samples, sizes

STALE = 24 * 3600  # seconds after which an unfinished folder was left by a killed process


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
    length, step = (None, 1) if window is None else in_samples(window, hop)
    with _writing(folder):
        draft = _draft(folder)
        try:
            if isinstance(spec, UtteranceSpec):
                items = utterance_features.extract_all(paths, audio_sha256, channel, spec, cache)
            elif isinstance(spec, SslSpec):
                items = ssl_features.extract_all(paths, audio_sha256, channel, spec, cache, length, step)
            else:
                items = extract_all(paths, channel, spec, length, step)
            with closing(items) as computed:
                _write(draft, computed, spec, length, on_progress)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return FeatureStore.open(folder)


def _write(
    folder: Path,
    computed: Iterable[Extracted],
    spec: Features,
    length: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Fill a folder with the items of some utterances; `length` is that of a window in samples."""
    counts, frames = _stream(folder, computed, on_progress)
    np.save(folder / "first.npy", np.cumsum([0, *counts]))
    np.save(folder / "frames.npy", np.concatenate(frames))
    shape = (spec.rows, columns(spec, length))
    meta = {"version": FEATURES_VERSION, "input_shape": shape, "bytes": sizes(folder), "spec": asdict(spec)}
    meta["pooled"] = pooled(spec)
    (folder / "meta.json").write_text(json.dumps(meta, indent=2))


def store_of_waves(
    folder: Path,
    waves: Iterable[tuple[Path, np.ndarray]],
    spec: Features,
    window: float | None,
    hop: float | None,
) -> FeatureStore:
    """Features of waveforms (where each comes from, and its samples at 16 kHz) that are in no file, in a new folder.

    One after the other in this thread; the same values as `open_store` gives for files that hold these waveforms.
    """
    length, step = (None, 1) if window is None else in_samples(window, hop)
    encoder = ssl_features.Encoder(spec) if isinstance(spec, SslSpec) else None

    def extracted(path: Path, wave: np.ndarray) -> Extracted:
        if isinstance(spec, UtteranceSpec):
            return utterance_features.item(utterance_features.checked(spec, wave, path))
        if isinstance(spec, SslSpec):
            assert encoder is not None
            return ssl_features.cut(encoder.values(wave[None])[0], spec, length, step)
        return extract_wave(wave, spec, length, step)

    _write(folder, (extracted(path, wave) for path, wave in waves), spec, length)
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
    if versions := utterance_features.versions(spec):
        settings["versions"] = versions
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
