"""Features that are one row of values per utterance: who computes them, under which licence, and that once per file.

Each file's values are kept in the cache by the hash of its audio: an extraction that was stopped goes on where it was,
and another label set or subset of the corpus takes what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Generator, Iterable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import soundfile
import soxr

from sertbench import audio, opensmile_features, pretrained
from sertbench.errors import AudioError
from sertbench.extraction import Extracted, in_order
from sertbench.feature_spec import Features, UtteranceSpec
from sertbench.pretrained_spec import Pretrained

FUNCTIONALS_VERSION = 2  # raised whenever `functionals` gives other values for the same audio


def versions(features: Features | None) -> dict[str, str]:
    """What computes the features beyond sertbench's own code, with its version; empty for spectral features.

    ConfigError, with what to type, if it is not installed.
    """
    if isinstance(features, Pretrained):
        return pretrained.versions()
    if not isinstance(features, UtteranceSpec):
        return {}
    if features.kind in opensmile_features.SETS:
        return {"opensmile": opensmile_features.version()}
    return {"functionals": str(FUNCTIONALS_VERSION), "librosa": metadata.version("librosa")}


def licence(features: Features | None) -> str:
    """What the user should know of the extractor's licence; empty if it is free."""
    kind = features.kind if features else ""
    return opensmile_features.LICENCE if kind in opensmile_features.SETS else ""


def compute(spec: UtteranceSpec, wave: np.ndarray) -> np.ndarray:
    """The values of one utterance, (`spec.rows`,) float32; `wave` is (n,), 16 kHz."""
    if spec.kind in opensmile_features.SETS:
        return opensmile_features.compute(spec.kind, wave)
    from sertbench import functionals

    return functionals.compute(wave)


def checked(spec: UtteranceSpec, wave: np.ndarray, path: Path) -> np.ndarray:
    """As `compute`; AudioError, which names the file, for values that are no numbers."""
    values = compute(spec, wave)
    if values.shape != (spec.rows,) or not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).sum())
        raise AudioError(
            f"{path}: {spec.kind} gives {wrong} values of {values.size} that are no numbers "
            f"({spec.rows} expected). Listen to the file; leave it out if it holds no speech"
        )
    return values


def item(values: np.ndarray) -> Extracted:
    """The values of one utterance as an item of one frame."""
    return Extracted(values[None, :, None], np.zeros((0, 2, 0)), np.ones(1, np.int64))


def extract_all(
    paths: Sequence[Path], audio_sha256: Sequence[str], channel: str, spec: UtteranceSpec, cache: Path
) -> Generator[Extracted]:
    """Values of each file, in order, as items of one frame; from the cache where it has them, on all cores."""
    folder = kept_in(spec, cache)
    folder.mkdir(parents=True, exist_ok=True)

    def extracted(file: tuple[Path, str]) -> Extracted:
        path, sha256 = file
        values = kept(folder / f"{sha256}.npy", spec)
        if values is None:
            values = checked(spec, audio.load(path, channel), path)
            keep(folder / f"{sha256}.npy", values)
        return item(values)

    return in_order(extracted, list(zip(paths, audio_sha256, strict=True)))


def kept_in(spec: UtteranceSpec, cache: Path) -> Path:
    """The folder of what is kept per utterance."""
    settings = [versions(spec), soundfile.__libsndfile_version__, soxr.__version__]
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return cache / "utterance-features" / f"{spec.kind}-{key}"


def missing(spec: UtteranceSpec, audio_sha256: Iterable[str], cache: Path) -> set[str]:
    """The hashes of the audio whose values are still to be computed."""
    folder = kept_in(spec, cache)
    return {sha256 for sha256 in audio_sha256 if not (folder / f"{sha256}.npy").exists()}


def kept(path: Path, spec: UtteranceSpec) -> np.ndarray | None:
    """The values in a file of the cache; None if it is absent or damaged."""
    try:
        values: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == (spec.rows,) else None


def keep(path: Path, values: np.ndarray) -> None:
    """Write values in one step."""
    draft = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.npy")
    np.save(draft, values)
    draft.replace(path)
