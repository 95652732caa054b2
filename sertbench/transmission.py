"""What speech loses on its way: narrow bands and lossy codecs, as functions from waveform to waveform.

Waveforms are as in `disturbances`, and keep their length and their place in time.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from sertbench.errors import ConfigError
from sertbench.feature_spec import SAMPLE_RATE

Wave = npt.NDArray[np.float32]

NARROW = 8000  #         Hz, sampling rate of telephony
MP3_DELAY = 576 + 529  # samples, of LAME's encoder and of the decoder; not undone by files without LAME's header
CODECS = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "vorbis": ("OGG", "VORBIS")}


def narrow(wave: Wave) -> Wave:
    """At 8 kHz (soxr HQ)."""
    return np.asarray(soxr.resample(wave, SAMPLE_RATE, NARROW, quality="HQ"), dtype=np.float32)


def widened(wave: Wave, n: int) -> Wave:
    """From 8 kHz back to `n` samples at 16 kHz."""
    return fitted(np.asarray(soxr.resample(wave, NARROW, SAMPLE_RATE, quality="HQ"), dtype=np.float32), n)


def fitted(wave: Wave, n: int) -> Wave:
    """Cut or padded with zeros at the end to `n` samples."""
    return np.pad(wave[:n], (0, max(0, n - len(wave))))


def telephone(wave: Wave) -> Wave:
    """The band of analogue telephony, 300 to 3400 Hz (ITU-T G.712), at 8 kHz: Butterworth, 8th order at each end."""
    sections = butter(8, (300, 3400), "bandpass", fs=NARROW, output="sos")
    return widened(np.asarray(sosfilt(sections, narrow(wave)), dtype=np.float32), len(wave))


def g711(wave: Wave, law: str) -> Wave:
    """Coded as ITU-T G.711 says, "ULAW" or "ALAW": 8 kHz, 8 bit per sample.

    What is beyond full scale is clipped: libsndfile's coders would look it up behind the end of their tables.
    """
    return widened(recoded(narrow(wave).clip(-1, 1), NARROW, "WAV", law), len(wave))


def transcode(wave: Wave, codec: str, strength: float) -> Wave:
    """Coded with a lossy codec of libsndfile and decoded again; `strength` is kbit/s, or the quality for vorbis.

    The rate of MP3 is constant, that of Opus what it aims at; that of Vorbis follows from the quality.
    """
    mode: str | None = None
    if codec == "mp3":
        level, mode = (160 - strength) / 152, "CONSTANT"  # libsndfile: 160 to 8 kbit/s at 16 kHz
    elif codec == "opus":
        level = 1 - (strength - 6) / 250  # libsndfile: 256 to 6 kbit/s
    else:
        level = 1 - strength / 10
    decoded = recoded(wave, SAMPLE_RATE, *CODECS[codec], min(level, 0.999), mode)
    late = MP3_DELAY if codec == "mp3" and len(decoded) > len(wave) else 0
    return fitted(decoded[late:], len(wave))


def recoded(
    wave: Wave, rate: int, container: str, subtype: str, level: float | None = None, mode: str | None = None
) -> Wave:
    """Written and read again, in memory."""
    memory = io.BytesIO()
    with soundfile.SoundFile(
        memory, "w", rate, 1, subtype, format=container, compression_level=level, bitrate_mode=mode
    ) as file:
        for start in range(0, len(wave), SAMPLE_RATE):  # libsndfile's Vorbis fails on very long writes
            file.write(wave[start : start + SAMPLE_RATE])
    memory.seek(0)
    return np.asarray(soundfile.read(memory, dtype="float32")[0], dtype=np.float32)


def missing_codecs() -> tuple[str, ...]:
    """The codecs that the libsndfile at hand cannot write."""
    return tuple(
        name for name, (container, subtype) in CODECS.items() if not soundfile.check_format(container, subtype)
    )


def refuse_missing(kinds: Sequence[str]) -> None:
    """ConfigError for a codec that cannot be written here."""
    for name in missing_codecs():
        if name in kinds:
            raise ConfigError(
                f"--kinds {name}: libsndfile {soundfile.__libsndfile_version__} cannot write {' '.join(CODECS[name])} "
                "here. Leave it out, or update soundfile"
            )
