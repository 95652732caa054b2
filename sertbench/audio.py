"""Decode, channel rule, resample: from an audio file to 16 kHz mono, or to a plain statement of what is wrong with it.

Decoding is libsndfile (soundfile), resampling is soxr HQ: its aliases stay below -140 dB, where torchaudio's default
resampler leaves them at -17 dB and so changes the features of every corpus that is not published at 16 kHz.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from functools import cache as memoise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from sertbench import containers, files
from sertbench.errors import AudioError, StorageError, few
from sertbench.feature_spec import SAMPLE_RATE

CHANNELS = ("mono", "left", "right", "mean")
INDEX_VERSION = 3  # raised whenever a probe of the same file gives something else than before
MIN_RATE, MAX_RATE = 1000, 1_000_000  # Hz: a header with another rate is damaged
LOUDEST = 2.0**32  # float samples are taken as they are; nobody's full scale is more than that of 32 bit
_BLOCK = 1 << 20  # samples read at once
_AGAIN = "Unpack, copy or export it again from its original."


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds.

    `sha256` is over the source rate and the decoded mono samples, so that a wav and a flac of the same recording have
    equal hashes and a change of tags does not count.
    """

    sha256: str
    seconds: float
    rate: int  #     Hz, of the file
    channels: int  # of the file, before the channel rule


def load(path: Path, channel: str = "mono") -> np.ndarray:
    """The samples of a file at 16 kHz: float32, shape (n,), n >= 1, full scale is 1.

    `channel` is what to do with several channels: "mono" refuses them, "left" and "right" take one, "mean" averages.
    Raises AudioError, which names the file, the fault and the remedy.
    """
    samples, rate, _ = decode(path, channel)
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    if not samples.size:
        raise AudioError(f"{path}: shorter than one sample at {SAMPLE_RATE} Hz. {_AGAIN}")
    return np.ascontiguousarray(samples, dtype=np.float32)


def probe(
    path: Path, channel: str = "mono", on_samples: Callable[[str, np.ndarray, int], None] | None = None
) -> AudioInfo:
    """What a file holds, from decoding all of it; AudioError as for `load`.

    `on_samples` is given the hash, the samples and their rate, which are not kept.
    """
    samples, rate, channels = decode(path, channel)
    info = AudioInfo(sha256_of(samples, rate), len(samples) / rate, rate, channels)
    if on_samples:
        on_samples(info.sha256, samples, rate)
    return info


def sha256_of(samples: np.ndarray, rate: int) -> str:
    """The hash that `AudioInfo` has, of samples that were decoded already."""
    digest = hashlib.sha256(struct.pack("<q", rate))
    digest.update(samples.astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def probe_all(
    paths: Sequence[Path],
    channel: str = "mono",
    cache: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_samples: Callable[[str, np.ndarray, int], None] | None = None,
) -> list[AudioInfo]:
    """Probe many files, in the order of `paths`.

    `cache` is an index file (JSON): a file whose path, size and times of modification and change are in it is not
    decoded again. An index that cannot be read is rebuilt. `on_progress` is told the number of files done so far;
    `on_samples` is given what is decoded, as by `probe`, from several threads.

    Raises AudioError naming every file that cannot be used, after all were tried; StorageError if the index cannot be
    written.
    """
    index = _read_index(cache)
    found: dict[int, AudioInfo] = {}
    real_folder = memoise(os.path.realpath)  # thousands of files lie in few folders
    stamps = [_stamp(path, channel, real_folder) for path in paths]
    for i, (where, stamp) in enumerate(stamps):
        known = index.get(where)
        if stamp and known and known[: len(stamp)] == stamp:
            found[i] = AudioInfo(*known[len(stamp) :])
    if on_progress and found:
        on_progress(len(found))
    missing = [i for i in range(len(paths)) if i not in found]
    if not missing:
        return [found[i] for i in range(len(paths))]

    faults: dict[int, AudioError] = {}
    pool = ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1), thread_name_prefix="probe")
    try:
        jobs = {pool.submit(probe, paths[i], channel, on_samples): i for i in missing}
        for job in as_completed(jobs):
            i = jobs[job]
            try:
                found[i] = job.result()
            except AudioError as fault:
                faults[i] = fault
            if on_progress:
                on_progress(len(found) + len(faults))
    finally:  # what was decoded before an interruption is not decoded again
        pool.shutdown(wait=True, cancel_futures=True)
        index.update({stamps[i][0]: [*stamps[i][1], *astuple(found[i])] for i in missing if i in found})
        _write_index(cache, index)
    if faults:
        first = "; ".join(str(faults[i]) for i in sorted(faults)[:5])
        rest = f" More: {few([paths[i] for i in sorted(faults)[5:]])}" if len(faults) > 5 else ""
        raise AudioError(f"{len(faults)} of {len(paths)} audio files cannot be used: {first}{rest}")
    return [found[i] for i in range(len(paths))]


def decode(path: Path, channel: str = "mono") -> tuple[np.ndarray, int, int]:
    """Samples of one channel at the file's own rate: float32 (n,), that rate in Hz, and the file's number of channels.

    `channel` and errors as for `load`.
    """
    if channel not in CHANNELS:
        raise AudioError(f"channel rule {channel!r} is unknown. Accepted: {', '.join(CHANNELS)}")
    _check_bytes(path)
    try:
        with _opened(path) as (file, promised):
            rate = file.samplerate
            if not MIN_RATE <= rate <= MAX_RATE:
                raise AudioError(
                    f"{path}: its header says {rate} samples per second, which cannot be. {_AGAIN}", "header"
                )
            samples = _all_samples(file)
    except (soundfile.SoundFileError, OSError, ValueError) as fault:
        raise AudioError(
            f"{path}: cannot be decoded ({fault}). Readable are wav, flac, ogg, opus and mp3. {_AGAIN}"
        ) from None
    if not len(samples):
        raise AudioError(f"{path}: holds no samples. {_AGAIN}", "no-samples")
    if len(samples) < promised:
        raise AudioError(f"{path}: truncated, {len(samples)} of {promised} samples are there. {_AGAIN}", "truncated")
    channels = samples.shape[1]
    mono = _one_channel(path, samples, channel)
    wrong = ~(np.abs(mono) < LOUDEST)  # of NaN as well
    if wrong.any():
        what = "beyond any scale, as in a wrong order of bytes" if np.isfinite(mono).all() else "NaN or infinite"
        raise AudioError(f"{path}: {int(wrong.sum())} samples are {what}. {_AGAIN}", "not-finite")
    return mono, rate, channels


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """An audio file, and how many samples there must be; 0 if that is not told."""
    with soundfile.SoundFile(path) as file:
        longer = containers.mp3_with_length(path.read_bytes(), file.frames) if file.format == "MP3" else None
        if longer is None:
            yield file, file.frames
            return
    with soundfile.SoundFile(io.BytesIO(longer)) as file:
        yield file, 0


def _all_samples(file: soundfile.SoundFile) -> np.ndarray:
    """All samples, (n, channels); a header that promises more than there is costs no memory for it."""
    length = max(1, _BLOCK // file.channels)
    blocks = [file.read(length, dtype="float32", always_2d=True)]
    while len(blocks[-1]) == length:
        blocks.append(file.read(length, dtype="float32", always_2d=True))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _one_channel(path: Path, samples: np.ndarray, channel: str) -> np.ndarray:
    """Apply the channel rule to samples of shape (n, channels)."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    if channel == "mono":
        raise AudioError(
            f"{path}: {channels} channels, and the corpus declares that its files have one. If that is how it is "
            'published, its adapter must choose: `channel = "left"`, `channel = "right"` or `channel = "mean"`',
            "channels",
        )
    if channel == "mean":
        mean: np.ndarray = samples.mean(axis=1, dtype=np.float32)
        return mean
    return samples[:, 0] if channel == "left" else samples[:, 1]


def _check_bytes(path: Path) -> None:
    """Refuse what is no audio file, or another length of one than its header tells, with the reason that fits.

    libsndfile calls everything that it does not know "format not recognised".
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(512)
            wrong = containers.length_fault(file, size)
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist. {_AGAIN}", "missing") from None
    except IsADirectoryError:
        raise AudioError(f"{path}: a folder, not an audio file. Rename it, or move it away.", "folder") from None
    except OSError as fault:
        raise AudioError(f"{path}: cannot be opened ({fault.strerror}). Check its permissions.", "unreadable") from None
    if not size:
        raise AudioError(f"{path}: empty (0 bytes). {_AGAIN}", "empty-file")
    if wrong:
        raise AudioError(f"{path}: {wrong[0]}. {_AGAIN}", wrong[1])
    if head.startswith(b"version https://git-lfs"):
        raise AudioError(f"{path}: a git-LFS pointer, not audio. Run `git lfs pull` in its repository.", "lfs-pointer")
    if head.startswith(b"\x00\x05\x16\x07"):
        raise AudioError(
            f"{path}: an AppleDouble twin made by macOS, not audio. Delete the `._` files.", "apple-double"
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise AudioError(f"{path}: a web page or XML, not audio: the download failed. Download it again.", "web-page")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        start = head[:40].decode("ascii").strip()
        raise AudioError(
            f"{path}: text, not audio (it begins {start!r}): the download failed. Download it again.", "text"
        )


def _stamp(path: Path, channel: str, real_folder: Callable[[Path], str]) -> tuple[str, list[Any]]:
    """Where a file really lies, and what changes when its audio does; empty for a file that is not there."""
    where = f"{real_folder(path.parent)}{os.sep}{path.name}"
    with contextlib.suppress(OSError):
        status = path.stat()
        # The last one nobody can set: it tells a file that was put there with another's size and time (cp -p, mv).
        return where, [status.st_size, status.st_mtime_ns, status.st_ctime_ns, channel]
    return where, []


def _read_index(cache: Path | None) -> dict[str, list[Any]]:
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_bytes())
        entries = content["files"] if content["version"] == INDEX_VERSION else {}
        return {where: row for where, row in entries.items() if len(row) == 8}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_index(cache: Path | None, index: dict[str, list[Any]]) -> None:
    """Replace the index file in one step, so that nobody ever reads half of it."""
    if cache is None:
        return
    part = files.draft_of(cache)  # equal process numbers are common: each container has its own
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"version": INDEX_VERSION, "files": index}), encoding="utf-8")
        part.replace(cache)
    except OSError as fault:
        raise StorageError(
            f"{cache}: cannot be written ({fault.strerror}). Choose another folder for the cache."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
