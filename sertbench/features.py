"""Waveform to array: MFCC, log-mel and log-spectrogram, batched, equal to librosa's values.

PLACEHOLDER BODY: the specification is final; extraction and the store are written beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FeatureSpec:
    """What to compute from 16 kHz mono audio. Hashable; its fields are all that the values depend on."""

    kind: Literal["mfcc", "log_mel", "log_spectrogram"]
    n_fft: int = 2048  #       samples per frame, periodic Hann window
    hop_length: int = 512  #   samples between frames; frames are centred, the signal is padded with zeros
    n_mels: int = 128  #       Slaney mel bands from 0 to 8 kHz, area-normalised (mfcc, log_mel)
    n_mfcc: int = 26  #        coefficients kept (mfcc)
    top_db: float | None = 80.0  # clamp this far below the maximum of the window (or utterance); None: no clamp
