"""How much memory a fit takes, worked out before it takes it.

What an architecture needs for an item is measured once, on a few items of noise, and kept in the cache: tensors that
are alive at the same time are counted (see `counting.TensorMemory`), so the figure is the same on every machine. What a
fit needs then follows from its batch size.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sertbench import files
from sertbench.admission import Need
from sertbench.compute import Compute
from sertbench.config import cache_folder
from sertbench.counting import TensorMemory, parameters
from sertbench.errors import SertbenchError, StorageError
from sertbench.feature_spec import width
from sertbench.identity import model_code_sha256
from sertbench.model import Estimator, NeuralModel, Recipe
from sertbench.network import Network, Normaliser
from sertbench.plugin_import import RAISES
from sertbench.seeding import own_random_state
from sertbench.tasks import FitTask
from sertbench.training import PREDICT_BATCH

VERSION = 1
LARGEST = 2**18  # values of an item up to which it is measured as long as it is; longer ones by proportion
ROUND = 64  #      frames that lengths of whole utterances are rounded up to
BATCHES = 4  #     of the same features at a time: as read, standardised, mixed, and in between
MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1}  # of each weight, by optimiser
# Of what is counted: work space of kernels, gaps between what is freed and taken again (measured: README of
# tests/benchmarks).
SLACK = 1.75
OWN = 60 << 20  #  what a first fit makes its process load, whatever the model
COPIES = 5  #      of an estimator's features, in float64: scaled, in the library's own order, of a part of them
KERNEL = 200 << 20  # the largest cache of a support vector machine (libsvm's)


@dataclass(frozen=True)
class Footprint:
    """Bytes that a network takes."""

    weights: int  # parameters and buffers
    trained: int  # of these, what has a gradient
    item: int  #     a training step, per item of its batch
    seen: int  #     a prediction, per item

    def shortened(self, share: float) -> Footprint:
        """As this, of items of so large a share of its frames."""
        return replace(self, item=round(share * self.item), seen=round(share * self.seen))


@dataclass(frozen=True)
class Built:
    """A network as a fit builds it: what its footprint depends on."""

    cls: type[NeuralModel]
    arguments: Mapping[str, Any]  # that are not the constructor's defaults
    whole: bool  #                  utterances are not cut into windows
    input_shape: tuple[int, int]  # (F, T), with T = 0 for whole utterances of lengths of their own
    longest: int  #                 frames of the longest utterance
    n_classes: int
    compute: Compute

    @property
    def frames(self) -> int:
        """Frames of the items to measure: corpora of about the same lengths share a measurement."""
        return self.input_shape[1] or -(-self.longest // ROUND) * ROUND

    @property
    def share(self) -> float:
        """Frames of the longest item, as a share of those that are measured."""
        return 1.0 if self.input_shape[1] else self.longest / self.frames


def counted(size: Footprint, recipe: Recipe, parts: int, predicted: int) -> int:
    """Bytes of a fit's tensors at their peak: a pure function.

    Batches of `recipe.batch_size` are cut into `parts`; `predicted` items are looked at together. There are always the
    weights, those of the best epoch, gradients and the optimiser's moments; beside them either a training step, or a
    prediction, or the file of a checkpoint, which holds all but the gradients.
    """
    moments = MOMENTS[recipe.optimiser] * size.trained
    always = 2 * size.weights + size.trained + moments
    step = math.ceil(recipe.batch_size / parts) * size.item
    return always + max(step, predicted * size.seen, 2 * size.weights + moments)


def counted_of_prediction(size: Footprint, predicted: int) -> int:
    """As `counted`, of a prediction by a finished fit: the weights, as read and as used, and the items."""
    return 2 * size.weights + predicted * size.seen


def likely(size: int) -> int:
    """Bytes that a process may well take for tensors of so many bytes."""
    return OWN + round(SLACK * size)


def of_estimator(utterances: int, values: int) -> Need:
    """What an estimator asks for that is fitted on so many utterances of so many values."""
    least = 8 * utterances * values
    return Need(OWN + COPIES * least + min(KERNEL, 8 * utterances**2), least)


def of_network(size: Footprint | None, recipe: Recipe, parts: int, model: str) -> Need:
    """What the fit of a network asks for; nothing if its size is not known."""
    if size is None:
        return Need()
    least = counted(size, recipe, parts, PREDICT_BATCH["cpu"])

    def advice(room: int) -> str:
        most = largest_batch(size, recipe, room)
        lower = f"Set batch_size = {most} or less in the recipe of {model}, or r" if most > 1 else "R"
        return f"It is for batches of {recipe.batch_size}. {lower}un it on a machine with more"

    return Need(likely(least), least, advice)


def largest_batch(size: Footprint, recipe: Recipe, free: int) -> int:
    """The largest batch with which a fit is likely to need at most `free` bytes; 0 if there is none."""
    rest = (free - OWN) / SLACK - 2 * size.weights - (1 + MOMENTS[recipe.optimiser]) * size.trained
    return max(0, int(rest / size.item))


@functools.lru_cache(maxsize=256)
def _measured(path: Path) -> Footprint | None:
    with suppress(OSError, ValueError, TypeError):
        return Footprint(*json.loads(path.read_text()))
    return None


def of_fit(task: FitTask, parts: int = 1) -> Need:
    """What a fit asks for. Nothing on a GPU, whose memory `turns` and `device_store` look after."""
    cls, recipe, _ = task.resolve()
    if issubclass(cls, Estimator):
        return of_estimator(len(task.train) + len(task.val), width(recipe.features))
    return of_network(size_of(task), recipe, parts, task.model)


def of_prediction(task: FitTask) -> Need:
    """What a prediction by a finished fit asks for; an estimator may have to be fitted again for it."""
    cls, _, _ = task.resolve()
    if issubclass(cls, Estimator):
        return of_fit(task)
    size = size_of(task)
    least = counted_of_prediction(size, PREDICT_BATCH["cpu"]) if size is not None else 0
    return Need(likely(least), least) if least else Need()


def size_of(task: FitTask) -> Footprint | None:
    """What the network of a fit takes; None on a GPU, or if that cannot be told."""
    cls, recipe, arguments = task.resolve()
    store = task.store
    if store is None or issubclass(cls, Estimator):
        return None
    longest, whole = int(store.frames.max()), recipe.window is None
    built = Built(cls, arguments, whole, store.input_shape, longest, task.n_classes, task.compute)
    return footprint(built, cache_folder())


def footprint(built: Built, cache: Path) -> Footprint | None:
    """What a network takes on a CPU; measured unless `cache` has it.

    None on a GPU, and for one that fails: its fit will say why.
    """
    if built.compute.device != "cpu":
        return None
    about = [
        VERSION, model_code_sha256(built.cls), dict(built.arguments), built.whole, built.input_shape, built.frames,
        built.n_classes, asdict(built.compute), torch.__version__,
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    path = cache / "footprints" / f"{key}.json"
    found = _measured(path)
    if found is None:
        try:
            found = measure(built)
        except SertbenchError:
            raise
        except RAISES:
            return None
        with suppress(StorageError):  # whatever needs the cache will say so
            files.write_text(path, json.dumps(astuple(found)))
        _measured.cache_clear()
    return found.shortened(built.share)


def measure(built: Built) -> Footprint:
    """What items of `built.frames` take: steps of two and of three of them, and a prediction of two, on noise.

    Leaves random numbers as they are.
    """
    F, n_classes, compute = built.input_shape[0], built.n_classes, built.compute
    T = built.input_shape[1] or min(built.frames, max(1, LARGEST // F))
    with own_random_state("cpu"):
        model = built.cls(built.input_shape, n_classes, **built.arguments)
        network = Network(model, Normaliser(None, None), built.whole)

        def step(items: int) -> int:
            """Bytes of a step. Gradients are there before it, so what is counted grows with the items alone."""
            x, lengths = torch.randn(items, F, T), torch.full((items,), T)
            with TensorMemory() as memory:
                with compute.autocast():
                    logits = network(x, lengths)
                functional.cross_entropy(logits, torch.arange(items) % n_classes).backward()  # type: ignore[no-untyped-call]
            return int(memory.peak)

        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        network.train()
        item = step(3) - step(2)
        network.eval()
        with torch.no_grad(), TensorMemory() as memory, compute.autocast():
            network(torch.randn(2, F, T), torch.full((2,), T))
    batch = np.dtype(np.float32).itemsize * F * T
    _, n_trained = parameters(network)
    weights = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    scale = built.frames / T
    return Footprint(
        weights,
        4 * n_trained,
        round(scale * (max(0, item) + BATCHES * batch)),
        round(scale * (memory.peak / 2 + BATCHES * batch)),
    )
