"""A network as ONNX, checked against torch before it is kept.

Inputs are the features of a batch of items before normalisation, `features` (B, F, T) float32, and, if the network has
a normaliser or hears whole utterances, their valid frames, `lengths` (B,) int64; the output is `logits` (B, n_classes).
How logits of an utterance's windows are averaged, and how features are made, is in config.json.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sertbench.errors import ConfigError
from sertbench.network import Network
from sertbench.sequence_layers import MaskedBatchNorm, ValidBatchNorm

TOLERANCE = 1e-4  # largest difference of a logit from torch's, relative to the largest logit where that is over 1


def takes_lengths(network: Network) -> bool:
    """Whether valid frames matter: to the model, or to the normaliser, which leaves padding at zero."""
    return network.whole or network.normaliser.mean is not None


class Exported(nn.Module):
    """A network that normalises its input itself."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits, (B, n_classes)."""
        x = features if lengths is None else self.network.normaliser(features, lengths)
        logits: Tensor = self.network(x, lengths)
        return logits


class AllSteps(nn.Module):
    """A masked batch normalisation, in evaluation, of all steps: an exporter cannot know how many of them are valid."""

    def __init__(self, norm: MaskedBatchNorm) -> None:
        super().__init__()
        self.norm = norm
        self.frames_last = isinstance(norm, ValidBatchNorm)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise x, shaped as `norm` takes it, and put zeros where mask (B, T) is False."""
        steps = x.transpose(1, -1) if self.frames_last else x  # (B, T, ..., C)
        normal = nn.BatchNorm1d.forward(self.norm, steps.flatten(0, -2)).reshape(steps.shape)
        kept = (normal.flatten(2) * mask[:, :, None]).reshape(steps.shape)
        return kept.transpose(1, -1) if self.frames_last else kept


def exportable(network: Network) -> Network:
    """The network, or where exporters do not know one of its blocks, a copy that gives the same without it."""
    if not any(isinstance(module, MaskedBatchNorm) for module in network.modules()):
        return network
    copied = copy.deepcopy(network)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, MaskedBatchNorm):
                setattr(module, name, AllSteps(child))
    return copied


def export(network: Network, input_shape: tuple[int, int], path: Path) -> tuple[str, str]:
    """Write `path` and say what may vary and how close it is to torch; or write nothing and say why not.

    Gives (what was written, why nothing was written), one of which is empty. ConfigError if onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"ONNX needs packages ({error}): `pip install 'sertbench[export]'`") from error
    F, T = input_shape
    times = (True, False) if T else (True,)
    if network.whole and T:  # an utterance's columns are no frames but, say, an encoder's layers
        times = (False,)
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    ways = [(traced, time) for traced in (False, True) for time in times]
    reason = ""
    for traced, time in ways:
        if recurrent and not traced:
            continue  # it unrolls recurrent layers, frame by frame, for minutes and in vain
        try:
            written = attempt(network, F, T, time, path, traced=traced)
        except Exception as error:  # noqa: BLE001 - whatever the exporter cannot do, the rest is exported
            reason = reason or reason_of(error)
            path.unlink(missing_ok=True)
        else:
            return written, ""
    return "", reason


def reason_of(error: BaseException) -> str:
    """What the exporter could not do, in a line: the first cause, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().partition("\n")[0]
    if failed := re.search(r"while running (\w+) node. Name:'([^']*)'", text):
        return f"its operator {failed[1]} ({failed[2]}) does not run with another batch or number of frames"
    return f"torch's exporter fails ({type(error).__name__}: {text[:200]})"


def attempt(network: Network, F: int, T: int, time: bool, path: Path, *, traced: bool) -> str:
    """Export with a variable batch and, with `time`, a variable number of frames; check; say what it is.

    `traced`: with torch's older exporter, which follows one example; the check has other sizes than that.
    """
    module = Exported(network).eval()  # what the file must be equal to
    frames = T or 64  # few: a recurrent layer is unrolled
    example = inputs(network, 3, F, frames)
    names = ["features", "lengths"][: len(example)]
    if traced:
        free = {0: "batch", 2: "frames"} if time else {0: "batch"}
        axes = {"features": free, "lengths": {0: "batch"}, "logits": {0: "batch"}}
        how: dict[str, Any] = {"dynamo": False, "dynamic_axes": {k: axes[k] for k in (*names, "logits")}}
    else:
        batch = torch.export.Dim("batch", min=1, max=65536)
        frames_axis = {2: torch.export.Dim("frames", min=2 if T else 8, max=65536)} if time else {}
        shapes = ({0: batch, **frames_axis}, {0: batch})[: len(example)]
        how = {"dynamo": True, "external_data": False, "dynamic_shapes": shapes, "verbose": False}
    with quiet():
        torch.onnx.export(
            Exported(exportable(network)).eval(), example, str(path), input_names=names, output_names=["logits"], **how
        )
    cases = [(1, frames), (5, frames)] + [(2, frames + 37), (2, max(16, frames - 29))] * time
    worst = max(difference(module, path, inputs(network, B, F, n)) for B, n in cases)
    if not worst <= TOLERANCE:
        raise ValueError(f"its logits differ from torch's by {worst:.1e}")
    size = " and any number of frames" if time else f", {T} {'columns' if network.whole else 'frames'}"
    return f"any batch{size}; {worst:.0e} from torch at most"


def inputs(network: Network, B: int, F: int, frames: int) -> tuple[Tensor, ...]:
    """Noise of a level that the normaliser knows, and lengths of which one is shorter."""
    generator = torch.Generator().manual_seed(B * 1000 + frames)
    x = torch.randn(B, F, frames, generator=generator)
    if network.normaliser.mean is not None and network.normaliser.std is not None:
        x = x * network.normaliser.std + network.normaliser.mean
    if not takes_lengths(network):
        return (x,)
    lengths = torch.full((B,), frames, dtype=torch.int64)
    lengths[-1] = frames if B == 1 else frames * 2 // 3
    return x * (torch.arange(frames) < lengths[:, None])[:, None], lengths


def difference(module: nn.Module, path: Path, given: tuple[Tensor, ...]) -> float:
    """The largest difference between the file's logits, by onnxruntime, and torch's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fed = {i.name: value.numpy() for i, value in zip(session.get_inputs(), given, strict=True)}
    (there,) = session.run(None, fed)
    with torch.no_grad():
        here = module(*given).numpy()
    return float(np.abs(there - here).max() / max(1.0, np.abs(here).max()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress, warnings and logs from the screen: what matters is checked."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
