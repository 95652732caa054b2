"""Waveform to features: librosa's values, batched, each window as if it were alone.

Values are those of librosa 0.11 with its defaults: centred frames, zero padding, periodic Hann window, power spectrum,
Slaney mel bands with area normalisation, 10 log10(max(E, 1e-10)), a floor `top_db` below the maximum of the window, and
an orthonormal DCT-II. The floor belongs to one window (or whole utterance), so it is never taken over a batch; nor
does a derivative look beyond its window. The frames of a `FramedSpec` are cut as python_speech_features cuts them.

Overlapping windows of one signal have frames in common, where their starts lie on one grid and no frame reaches into
the padding: with GLAM's windows, every fourth, by 28 of 57 frames. Such a frame is transformed once.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import scipy  # loads its parts when they are first used
import torch
from torch import Tensor

from sertbench.feature_spec import SAMPLE_RATE, CombinedSpec, FeatureSpec, FramedSpec, WaveformSpec

LEAST_POWER = 1e-10  # power_to_db's amin: -100 dB
# Samples framed at a time. On a CPU the work arrays then stay in cache; a GPU wants large kernels.
CPU_BLOCK, GPU_BLOCK = 2**20, 2**26
CHUNK = 4  #             blocks at most whose levels are kept at a time, and among which frames are shared


@torch.no_grad()
def extract(spec: FeatureSpec | WaveformSpec, waves: Tensor) -> Tensor:
    """Compute features of equally long signals.

    `waves` is (B, N), float32, 16 kHz, on any device. Gives (B, F, T), float32, with F = `spec.rows` and
    T = `spec.frames(N)`; row b depends on `waves[b]` alone. Fastest for a view of overlapping windows as
    `signal.unfold(0, N, step)` makes it, without copying.
    """
    if isinstance(spec, WaveformSpec):
        return _standardised(waves)[:, None] if spec.normalise else waves[:, None].clone()
    if isinstance(spec, CombinedSpec):
        return _combined(spec, waves)
    B, N = waves.shape
    T = spec.frames(N)
    tables = _tables(spec, waves.device)
    out = waves.new_empty(B, spec.rows, T)
    block = max(1, (CPU_BLOCK if waves.device.type == "cpu" else GPU_BLOCK) // spec.n_fft)  # frames
    step = max(1, CHUNK * block // T)  # windows
    for b in range(0, B, step):
        levels = _decibels(spec, tables, waves[b : b + step], block)  # (b, T, M)
        if spec.top_db is not None:
            torch.maximum(levels, levels.amax((1, 2), keepdim=True) - spec.top_db, out=levels)
        if isinstance(spec, FramedSpec):
            levels = levels.sub_(levels.amax((1, 2), keepdim=True))[..., : spec.rows]
        rows = levels if tables.cosines is None else levels @ tables.cosines
        out[b : b + step] = rows.transpose(1, 2)
    return out


def _standardised(waves: Tensor) -> Tensor:
    """Zero mean and unit variance of each wave, (B, N); silence stays silence (Wav2Vec2FeatureExtractor's 1e-7)."""
    centred = waves - waves.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


def _combined(spec: CombinedSpec, waves: Tensor) -> Tensor:
    static = extract(spec.alone, waves)
    derivatives = [derivative(static, order, spec.delta_width) for order in range(1, spec.deltas + 1)]
    return torch.cat([static, *derivatives, *(extract(part, waves) for part in spec.below)], 1)


def derivative(x: Tensor, order: int, width: int = 9) -> Tensor:
    """Derivative of x (..., T) along time, per frame^order: of a polynomial of this order, fitted to `width` frames.

    Equal to librosa.feature.delta(x, width=9, order=1, mode="interp"), which is Savitzky & Golay's filter: the edges
    take the derivatives of the first and of the last fit. Fewer than `width` frames, which librosa refuses, are
    continued with their outermost values (its mode "nearest").
    """
    mode = "interp" if x.shape[-1] >= width else "nearest"
    values = scipy.signal.savgol_filter(x.cpu().numpy(), width, order, deriv=order, axis=-1, mode=mode)
    return torch.from_numpy(values).to(x)


@dataclass(frozen=True)
class _Tables:
    """Constants of a specification on one device."""

    window: Tensor  #                                    (samples per frame,); its precision is that of the transform
    bands: tuple[tuple[slice, slice, Tensor], ...]  #    (bins, mel bands, weights) of groups of neighbouring bands
    cosines: Tensor | None  #                            (n_mels, n_mfcc)


@cache
def _tables(spec: FeatureSpec, device: torch.device) -> _Tables:
    if isinstance(spec, FramedSpec):
        return _Tables(torch.ones(spec.frame_length, dtype=torch.float64, device=device), (), None)
    window = torch.hann_window(spec.n_fft, dtype=torch.float64).to(device)
    if spec.kind == "log_spectrogram":
        # Float32's rounding reaches the nulls of a spectrum, where a single bin has no neighbours to hide it.
        return _Tables(window, (), None)
    window = window.float()
    weights = mel_bands(spec.n_fft, spec.n_mels)
    groups = []
    # A band covers few bins, so the whole product is mostly zeros: take groups of 16 bands, each over its own bins.
    for bands in np.array_split(np.arange(spec.n_mels), max(1, spec.n_mels // 16)):
        rows = slice(int(bands[0]), int(bands[-1]) + 1)
        used = np.flatnonzero(weights[rows].any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        groups.append((bins, rows, torch.tensor(weights[rows, bins].T, dtype=torch.float32, device=device)))
    if spec.kind == "log_mel":
        return _Tables(window, tuple(groups), None)
    cosines = torch.tensor(dct(spec.n_mfcc, spec.n_mels).T, dtype=torch.float32, device=device)
    return _Tables(window, tuple(groups), cosines)


def mel_bands(n_fft: int, n_mels: int) -> np.ndarray:
    """Slaney's triangular mel bands from 0 to 8 kHz, each of unit area in Hz: (n_mels, n_fft // 2 + 1), float64.

    The scale is linear below 1 kHz (200/3 Hz per mel) and logarithmic above (6.4-fold in 27 mel): Slaney, Auditory
    Toolbox, 1998. torchaudio's table is rounded to float32 on the way, which is 2 % off at the feet of the triangles.
    """
    knee, log_step = 1000.0, math.log(6.4) / 27
    top = knee * 3 / 200 + math.log(SAMPLE_RATE / 2 / knee) / log_step
    mels = np.linspace(0.0, top, n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, knee * np.exp(log_step * (mels - 15)))  # Hz
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    width = np.diff(edges)[:, None]
    rise = (hertz - edges[:-2, None]) / width[:-1]
    fall = (edges[2:, None] - hertz) / width[1:]
    triangles: np.ndarray = np.maximum(0.0, np.minimum(rise, fall))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


def dct(n_mfcc: int, n_mels: int) -> np.ndarray:
    """The first rows of the orthonormal DCT-II: (n_mfcc, n_mels), float64 (torchaudio's is 4e-6 off at 128 rows)."""
    k, n = np.arange(n_mfcc)[:, None], np.arange(n_mels)
    rows: np.ndarray = np.sqrt(2 / n_mels) * np.cos(np.pi / n_mels * k * (n + 0.5))
    rows[0] /= np.sqrt(2)
    return rows


def _decibels(spec: FeatureSpec, tables: _Tables, waves: Tensor, block: int) -> Tensor:
    """Levels (B, T, M) in dB, without the floor; M bands or bins. `block` is the most frames transformed at a time."""
    B, N = waves.shape
    T, bins, size = spec.frames(N), spec.n_fft // 2 + 1, len(tables.window)
    framed_only = isinstance(spec, FramedSpec)
    M = spec.n_mels if tables.bands else bins if framed_only else spec.rows
    real, device = tables.window.dtype, waves.device
    before, total = (0, (T - 1) * spec.hop_length + size) if framed_only else (size // 2, N + 2 * (size // 2))
    padded = _scratch.take("padded", (B, total), real, device)
    padded[:, :before] = 0.0
    padded[:, before : before + N] = waves
    padded[:, before + N :] = 0.0
    inner = (-(-before // spec.hop_length), (N + before - size) // spec.hop_length)
    starts, where = _distinct(B, T, total, spec.hop_length, _apart(waves), inner, device)
    everywhere = padded.view(-1).unfold(0, size, 1)
    levels = _scratch.take("levels", (len(starts), M), torch.float32, device)
    for n in range(0, len(starts), block):
        part, here = starts[n : n + block], levels[n : n + block]
        framed = _scratch.take("framed", (len(part), size), real, device)
        torch.index_select(everywhere, 0, part, out=framed).mul_(tables.window)
        power = _scratch.take("power", (len(part), bins), real, device)
        # No `out`: the transform would copy into it. Squares of all parts, then their sum: abs() is five times slower.
        squares = torch.view_as_real(torch.fft.rfft(framed, spec.n_fft)).square_()
        torch.add(squares[..., 0], squares[..., 1], out=power)
        if not tables.bands:
            here.copy_(power[:, :M])
        for used, rows, weights in tables.bands:
            torch.mm(power[:, used], weights, out=here[:, rows])
    levels.clamp_(min=LEAST_POWER).log10_().mul_(10)
    if where is not None:
        levels = torch.index_select(levels, 0, where, out=_scratch.take("all", (B * T, M), torch.float32, device))
    return levels.view(B, T, M)


def _apart(waves: Tensor) -> int:
    """Samples from one row's start to the next one's, if the rows are overlapping windows of one signal; else 0."""
    step, along = waves.stride()
    return step if along == 1 and step < waves.shape[1] else 0


@lru_cache(256)
def _distinct(
    B: int, T: int, total: int, hop: int, apart: int, inner: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Where the frames to transform start, (n,), in B padded windows of `total` samples; which is whose, (B * T,).

    The windows start every `apart` samples of one signal, frames every `hop` samples. Frames `inner` (first and last)
    touch no padding. Frame k of window w is frame k + Q of window w - P, if both are inner; P is the least number of
    windows that lie a whole number Q of frames apart. None instead of the latter: each frame is its own.
    """
    w, k = np.indices((B, T))
    where = None
    if apart:
        P = hop // math.gcd(apart, hop)
        Q = P * apart // hop
        first, last = inner
        back = np.where((first <= k) & (k <= last), np.minimum(w // P, (last - k) // Q), 0)
        distinct, found = np.unique((w - back * P) * T + k + back * Q, return_inverse=True)
        if len(distinct) < B * T:
            w, k = np.divmod(distinct, T)
            where = torch.from_numpy(found.ravel()).to(device)
    return torch.from_numpy((w * total + k * hop).ravel()).to(device), where


class _Scratch(threading.local):
    """Work arrays of one thread, kept between calls: fresh ones cost more in page faults than the FFT itself."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An array of undefined values."""
        n = math.prod(shape)
        array = self.arrays.get((name, dtype, device))
        if array is None or array.numel() < n:
            array = self.arrays[name, dtype, device] = torch.empty(n, dtype=dtype, device=device)
        return array[:n].view(shape)


_scratch = _Scratch()
