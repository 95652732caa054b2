"""What to compute from audio: the specification of a feature, light enough for `sertbench list features`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from sertbench import pretrained_spec
from sertbench.errors import ConfigError, unknown
from sertbench.pretrained_spec import SslSpec, WaveformSpec, ssl, ssl_frames, waveform

__all__ = [
    "COLUMNS", "FUNCTIONALS", "KINDS", "PRETRAINED", "SAMPLE_RATE", "CombinedSpec", "FeatureSpec", "Features",
    "FramedSpec", "SslSpec", "UtteranceSpec", "WaveformSpec", "columns", "framed_spectrogram",
    "log_mel", "log_spectrogram", "mfcc", "parse", "pooled", "ssl", "ssl_frames", "stacked", "waveform", "width",
    "with_deltas",
]  # fmt: skip

SAMPLE_RATE = 16_000  # Hz: every corpus is brought to this rate by one resampling chain (soxr HQ)

KINDS = {
    "mfcc": "mel-frequency cepstral coefficients, librosa's defaults at 16 kHz (GLAM uses 26)",
    "log_mel": "mel band energies in dB, Slaney bands",
    "log_spectrogram": "power spectrum in dB; also of frames that are neither tapered nor centred (APCNN)",
    "functionals": "statistics of pitch, energy, spectrum and MFCC, one row per utterance; free, on librosa",
    "egemaps": "eGeMAPSv02 (Eyben et al. 2016) by openSMILE, one row per utterance; non-commercial licence",
    "compare2016": "ComParE 2016 (Schuller et al. 2016) by openSMILE, one row per utterance; non-commercial licence",
    "ssl": "mean and deviation of each layer of wav2vec 2.0, HuBERT, WavLM, data2vec, w2v-BERT or Whisper: "
    "ssl:CHECKPOINT[:LAYERS]",
    "ssl_frames": "the same layers, frame by frame: ssl:CHECKPOINT[:LAYERS]:frames",
    "waveform": "the waveform, for a checkpoint that is trained on: waveform:CHECKPOINT",
}

COLUMNS = {"functionals": 214, "egemaps": 88, "compare2016": 6373}  # values per utterance, by kind
FUNCTIONALS = tuple(COLUMNS)
PRETRAINED = ("ssl", "ssl_frames", "waveform")


@dataclass(frozen=True)
class FeatureSpec:
    """What to compute from 16 kHz mono audio. Hashable; its fields are all that the values depend on."""

    kind: Literal["mfcc", "log_mel", "log_spectrogram"]
    n_fft: int = 2048  #       samples per frame, periodic Hann window
    hop_length: int = 512  #   samples between frames; frames are centred, the signal is padded with zeros
    n_mels: int = 128  #       Slaney mel bands from 0 to 8 kHz, area-normalised (mfcc, log_mel)
    n_mfcc: int = 26  #        coefficients kept, orthonormal DCT-II (mfcc)
    n_bins: int | None = None  # lowest bins kept of n_fft / 2 + 1; None: all (log_spectrogram)
    top_db: float | None = 80.0  # clamp this far below the maximum of the window (or utterance); None: no clamp

    @property
    def rows(self) -> int:
        """Feature rows F."""
        if self.kind == "mfcc":
            return self.n_mfcc
        return self.n_mels if self.kind == "log_mel" else self.n_bins or self.n_fft // 2 + 1

    @property
    def summary(self) -> str:
        """What a list of models says: "mfcc 26"."""
        return f"{self.kind} {self.rows}"

    def frames(self, samples: int) -> int:
        """Frames T of a signal of `samples` samples: 1 + floor(samples / hop_length)."""
        return 1 + samples // self.hop_length


@dataclass(frozen=True)
class FramedSpec(FeatureSpec):
    """A power spectrum of plain frames, as python_speech_features cuts them; a class of its own for its own setting.

    Frames are rectangular and start at the first sample; the last one is filled up with zeros. Each is padded with
    zeros to `n_fft` samples. Levels are dB below the loudest of all bins of the window (or utterance), kept or not.
    """

    frame_length: int = 640  # samples

    def frames(self, samples: int) -> int:
        """Frames T of a signal of `samples` samples: as many as it takes to hold them all."""
        return 1 + max(0, -(-(samples - self.frame_length) // self.hop_length))


@dataclass(frozen=True)
class UtteranceSpec:
    """One row of values per utterance, whatever its length: functionals, as openSMILE calls them."""

    kind: Literal["functionals", "egemaps", "compare2016"]

    @property
    def rows(self) -> int:
        """Values per utterance."""
        return COLUMNS[self.kind]

    @property
    def summary(self) -> str:
        """What a list of models says: "egemaps 88"."""
        return f"{self.kind} {self.rows}"

    def frames(self, samples: int) -> int:
        """One, for any length: the values stand where others have frames."""
        del samples
        return 1


Features = FeatureSpec | UtteranceSpec | SslSpec | WaveformSpec


def parse(text: str) -> Features:
    """The features that `--features TEXT` asks for. ConfigError for a name that nobody knows."""
    if (pretrained := pretrained_spec.parse(text)) is not None:
        return pretrained
    if text not in FUNCTIONALS:
        known = [*FUNCTIONALS, "ssl:CHECKPOINT", "waveform:CHECKPOINT"]
        raise ConfigError(f"--features: {unknown('kind of features', text, known)}")
    return UtteranceSpec(text)  # type: ignore[arg-type]  # FUNCTIONALS holds the literals


def pooled(features: Features | None) -> bool:
    """Whether an utterance is one item of fixed size, with nothing left to take statistics of."""
    return isinstance(features, UtteranceSpec) or (isinstance(features, SslSpec) and features.kind == "ssl")


def columns(features: Features, samples: int | None) -> int:
    """Columns T of an item, as a model's `input_shape` says it: 0 if each utterance (`samples` is None) has its own."""
    if samples is None:
        return features.frames(0) if isinstance(features, SslSpec) and pooled(features) else 0
    return features.frames(samples)


def width(features: Features | None) -> int:
    """Columns of an Estimator's `Examples.functionals`: the utterance's values, or mean and deviation of each row."""
    if features is None:
        return 0
    return features.rows * features.frames(0) if pooled(features) else 2 * features.rows


def mfcc(n_mfcc: int = 26, **settings: Any) -> FeatureSpec:
    """MFCC; the defaults are librosa's at 16 kHz: 2048-sample frames every 512, 128 Slaney mel bands, 80 dB floor."""
    return FeatureSpec("mfcc", n_mfcc=n_mfcc, **settings)


def log_mel(n_mels: int = 64, n_fft: int = 512, hop_length: int = 160, **settings: Any) -> FeatureSpec:
    """Mel band energies in dB; by default 64 bands of 32 ms frames every 10 ms."""
    return FeatureSpec("log_mel", n_mels=n_mels, n_fft=n_fft, hop_length=hop_length, **settings)


def log_spectrogram(n_fft: int = 512, hop_length: int = 160, n_bins: int | None = None, **settings: Any) -> FeatureSpec:
    """Power spectrum in dB; by default 257 bins of 32 ms frames every 10 ms."""
    return FeatureSpec("log_spectrogram", n_fft=n_fft, hop_length=hop_length, n_bins=n_bins, **settings)


def framed_spectrogram(frame_length: int, hop_length: int, n_fft: int, n_bins: int) -> FramedSpec:
    """Power spectrum in dB relative to the maximum, of rectangular frames that are not centred; see FramedSpec."""
    return FramedSpec("log_spectrogram", n_fft, hop_length, n_bins=n_bins, top_db=None, frame_length=frame_length)


@dataclass(frozen=True)
class CombinedSpec(FeatureSpec):
    """Rows from top to bottom: a feature, its time derivatives, then other features of the same frames.

    A class of its own, so that a plain feature keeps its fields and with them its place in the cache.
    """

    deltas: int = 0  #       orders of derivatives: 1 adds the deltas, 2 the delta-deltas too
    delta_width: int = 9  #  frames over which a derivative is fitted, odd
    below: tuple[FeatureSpec, ...] = ()

    @property
    def alone(self) -> FeatureSpec:
        """The feature without its derivatives and without what is below."""
        return FeatureSpec(**_settings(self))

    @property
    def rows(self) -> int:
        """Feature rows F."""
        return (1 + self.deltas) * super().rows + sum(part.rows for part in self.below)

    @property
    def summary(self) -> str:
        """What a list of models says: "log_mel 64 + mfcc 13 ΔΔ"."""
        first = f"{self.kind} {super().rows} {'Δ' * self.deltas}".strip()
        return " + ".join([first, *(part.summary for part in self.below)])


def _settings(spec: FeatureSpec) -> dict[str, Any]:
    if isinstance(spec, FramedSpec):
        raise ValueError("a framed_spectrogram has no deltas, and only stands below other features")
    return {f.name: getattr(spec, f.name) for f in fields(FeatureSpec)}


def with_deltas(spec: FeatureSpec, orders: int = 2, width: int = 9) -> CombinedSpec:
    """A plain feature with its deltas (orders=1) and delta-deltas (orders=2) below it.

    The values are those of librosa.feature.delta, whose width is 9 too: the slope of a line, and the second derivative
    of a parabola, fitted to `width` frames; the first and last few frames share a fit. See `features.derivative`.
    """
    return CombinedSpec(**_settings(spec), deltas=orders, delta_width=width)


def stacked(first: FeatureSpec, *others: FeatureSpec) -> CombinedSpec:
    """Several features of the same `hop_length`, the rows of one below those of the other."""
    if isinstance(first, CombinedSpec):
        return replace(first, below=first.below + others)
    return CombinedSpec(**_settings(first), below=others)
