"""Sound files to class probabilities, by what a run has trained: features, windows and normaliser as in training."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits

from sertbench import audio, estimator_state
from sertbench.compute import Compute
from sertbench.corpus import Utterance
from sertbench.corpus_files import audio_files, expanded
from sertbench.errors import AudioError, ConfigError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.feature_store import FeatureStore, windows
from sertbench.guard import blaming
from sertbench.model import Estimator, Examples
from sertbench.pretrained_spec import SslSpec
from sertbench.torch_settings import restore_defaults
from sertbench.trained import Member, Trained, network_of
from sertbench.training import predict

PIECE = 2.0  # seconds of a piece of a model that takes utterances whole


@dataclass(frozen=True)
class Clip:
    """A file, or a piece of one, to be classified."""

    path: Path
    sha256: str  #   that tells its audio from others
    seconds: float
    start: float = 0.0


@dataclass(frozen=True)
class Piece:
    """Class probabilities of a piece of a file."""

    start: float  # seconds
    end: float
    probabilities: np.ndarray  # (n_classes,)


@dataclass(frozen=True)
class Prediction:
    """What is said of one file."""

    name: str
    seconds: float
    channels: int
    probabilities: np.ndarray  # (n_classes,), mean over the members
    agreement: int  #            members whose own likeliest class is that of the mean
    seen: str  #                 what the file was to the members in training, in words; empty: nothing
    pieces: tuple[Piece, ...] = ()


@contextmanager
def collected(inputs: Sequence[str], stdin: Any, recording: np.ndarray | None) -> Iterator[list[tuple[str, Path]]]:
    """The files that some arguments name, with what to call them.

    An argument is a file, a folder (all audio in it), or "-": a file's bytes on the standard input. `recording` (n,) at
    16 kHz is one more. Raises ConfigError for what does not exist and for a folder without audio.
    """
    with tempfile.TemporaryDirectory(prefix="sertbench-") as place:
        found: list[tuple[str, Path]] = []
        for argument in inputs:
            path = expanded(argument, "FILE")
            if argument == "-":
                path = Path(place) / "stdin"
                path.write_bytes(stdin.read())
                found.append(("standard input", path))
            elif path.is_dir():
                inside = audio_files(path)
                if not inside:
                    raise ConfigError(f"{path} holds no audio: readable are wav, flac, mp3, ogg and opus")
                found += [(str(file), file) for file in inside]
            elif path.exists():
                found.append((argument, path))
            else:
                raise ConfigError(
                    f"{argument} does not exist: expected a sound file, a folder of them, or - for a pipe"
                )
        if recording is not None:
            path = Path(place) / "microphone.wav"
            write(path, recording)
            found.append(("microphone", path))
        yield found


def record(seconds: float) -> np.ndarray:
    """Record from the microphone at 16 kHz, (n,) float32. ConfigError without the package, or without a microphone."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, the PortAudio library is not
        raise ConfigError(
            f"--microphone needs the package sounddevice and PortAudio ({error}): `pip install sounddevice`, or record "
            "with another program and pipe it: `arecord -d 5 -f S16_LE -r 16000 | sertbench predict RUN -`"
        ) from error
    try:
        taken = sounddevice.rec(round(seconds * SAMPLE_RATE), samplerate=SAMPLE_RATE, channels=1, dtype="float32")
        sounddevice.wait()
    except Exception as error:
        raise ConfigError(f"--microphone: nothing could be recorded ({error}). Is a microphone there?") from error
    wave: np.ndarray = taken[:, 0]
    return wave


def write(path: Path, wave: np.ndarray) -> None:
    """Write samples at 16 kHz as they are, so that reading gives the same ones."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    path.write_bytes(buffer.getvalue())


def predict_files(
    trained: Trained,
    files: Sequence[tuple[str, Path]],
    channel: str | None = None,
    over_time: float | None = None,
    window: float | None = None,
    device: str = "cpu",
) -> list[Prediction]:
    """What each of the named files is, and with `over_time` (seconds from one piece to the next) how that changes.

    Raises AudioError, which names each file that cannot be used, and ConfigError for an option that cannot be.
    """
    rule = channel or trained.channel
    infos = audio.probe_all([path for _, path in files], rule)
    clips = [Clip(path, info.sha256, info.seconds) for (_, path), info in zip(files, infos, strict=True)]
    with tempfile.TemporaryDirectory(prefix="sertbench-") as place:
        whole = probabilities(trained, clips, rule, Path(place), device)
        pieces: list[tuple[Piece, ...]] = [()] * len(clips)
        if over_time is not None:
            pieces = list(changing(trained, clips, rule, over_time, window, Path(place), device))
    mean = whole.mean(axis=0)
    agreement = (whole.argmax(2) == mean.argmax(1)).sum(axis=0)
    return [
        Prediction(name, info.seconds, info.channels, mean[i], int(agreement[i]), trained.seen(info.sha256), pieces[i])
        for i, ((name, _), info) in enumerate(zip(files, infos, strict=True))
    ]


def piece_seconds(trained: Trained, window: float | None) -> float:
    """How long a piece is: as asked, else the model's own window, else `PIECE`. ConfigError for other than positive."""
    own = trained.members[0].recipe.window
    if window is not None and own is not None and window != own:
        raise ConfigError(f"--window {window}: model {trained.name} hears windows of {own} s. Leave --window out")
    seconds = window if window is not None else own or PIECE
    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"--window {seconds}: expected 0.1 to 3600 seconds")
    return seconds


def changing(
    trained: Trained, clips: Sequence[Clip], rule: str, hop: float, window: float | None, place: Path, device: str
) -> Iterator[tuple[Piece, ...]]:
    """The pieces of each clip: every `hop` seconds one, as long as they fit; one that is shorter is one piece."""
    length = piece_seconds(trained, window)
    if not 0.01 <= hop <= 3600:
        raise ConfigError(f"--over-time {hop}: expected 0.01 to 3600 seconds from one window to the next")
    for n, clip in enumerate(clips):
        wave = audio.load(clip.path, rule)
        size, cuts = round(length * SAMPLE_RATE), []
        for k, begin in enumerate(windows(len(wave), length, hop)):
            path = place / f"{n}-{k}.wav"
            part = wave[begin : begin + size]
            write(path, part)
            cuts.append(Clip(path, f"{clip.sha256}-{begin}-{size}", len(part) / SAMPLE_RATE, begin / SAMPLE_RATE))
        found = probabilities(trained, cuts, "mono", place, device).mean(axis=0)
        yield tuple(Piece(c.start, c.start + c.seconds, p) for c, p in zip(cuts, found, strict=True))
        for cut in cuts:
            cut.path.unlink()


def probabilities(trained: Trained, clips: Sequence[Clip], rule: str, cache: Path, device: str) -> np.ndarray:
    """Class probabilities by each member: (n_members, n_clips, n_classes), float32."""
    compute = Compute.resolve(device, "fp32")
    stores: dict[Any, FeatureStore] = {}
    found = []
    torch.set_num_threads(1)  # this and the next as in training
    restore_defaults()
    for member in trained.members:
        recipe = member.recipe
        assert recipe.features is not None, "models without features were refused"
        features = recipe.features
        if isinstance(features, SslSpec):
            features = replace(features, device=compute.device)
        key = features, recipe.window, recipe.hop
        if key not in stores:
            paths, hashes = [c.path for c in clips], [c.sha256 for c in clips]
            stores[key] = open_store(paths, hashes, features, recipe.window, recipe.hop, rule, cache)
        with blaming(trained.spec), threadpool_limits(1):
            found.append(by_member(trained, member, stores[key], clips, compute))
    return np.stack(found)


def by_member(
    trained: Trained, member: Member, store: FeatureStore, clips: Sequence[Clip], compute: Compute
) -> np.ndarray:
    """Class probabilities by one member, (n_clips, n_classes), float32."""
    n, positions = len(clips), np.arange(len(clips))
    if member.state is not None:
        estimator = made(trained, member)
        nobody = tuple(Utterance("", Path(), "", "") for _ in clips)
        seconds = np.array([c.seconds for c in clips])
        given = estimator.predict_proba(Examples(nobody, seconds, store.functionals(positions), None))
        return checked(np.asarray(given, dtype=np.float32), n, len(trained.classes))
    network = network_of(trained, member, compute.device)
    items, owner = store.items_of(positions)
    return checked(predict(network, member.recipe, store, items, owner, n, compute), n, len(trained.classes))


def made(trained: Trained, member: Member) -> Estimator:
    """A member's estimator, as it was fitted."""
    assert member.state is not None, "networks have weights instead"
    cls = cast("type[Estimator]", trained.cls)
    return estimator_state.restore(cls(len(trained.classes), member.seed, **member.arguments), member.state)


def checked(given: np.ndarray, n: int, n_classes: int) -> np.ndarray:
    """The same probabilities; AudioError if they are none."""
    if given.shape != (n, n_classes) or not np.isfinite(given).all():
        raise AudioError("the model's answer is no table of probabilities: its weights are damaged, or the audio is")
    return given
