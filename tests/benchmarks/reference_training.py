"""GLAM's released training loop against ours: the same windows, the same split, in turn.

    pip install g-mlp-pytorch==0.1.5
    python -P tests/benchmarks/reference_training.py --reference GLAM --data EMODB

`--reference` is a checkout of the authors' code (github.com/lixiangucas01/GLAM): its own `train()` runs as it is, in a
process of its own. Each process computes on one thread. Ratios are of pairs of neighbouring runs: above 1, ours is
faster. Processor time tells more than wall time where others use the machine, too.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import importlib
import io
import multiprocessing
import os
import runpy
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench import config, plugins
from sertbench import corpus as corpora
from sertbench.compute import Compute, multiplies_bf16, settle
from sertbench.feature_cache import open_store
from sertbench.feature_store import FeatureStore
from sertbench.model import NeuralModel
from sertbench.network import Part, build
from sertbench.optimisation import make_optimiser
from sertbench.scores import score
from sertbench.training import predict, train_epoch

SEED, TRAIN_SHARE = 2021, 0.8  # the reference's own random split of utterances
CLASSES = 4  # the reference is made for four
HEAVY = {  # the products of a step on a batch of 32 windows: (kernel, channels in and out, height, width), how often
    (3, 16, 16, 52, 57): 1,
    (5, 16, 16, 52, 57): 1,
    (3, 32, 32, 26, 28): 1,
    (5, 32, 32, 26, 28): 1,
    (3, 64, 64, 13, 14): 1,
    (5, 64, 64, 13, 14): 1,
    (5, 128, 128, 13, 14): 1,
    (1, 182, 364, 16, 8): 2,
    (1, 364, 182, 16, 8): 1,
    (1, 128, 128, 1, 364): 1,
}
Epoch = dict[str, float]  # seconds of "train" and "evaluation", and of the processor's: "train cpu", "evaluation cpu"


@dataclass(frozen=True)
class Data:
    """Windows of a corpus, split by utterance."""

    store: FeatureStore
    train: Part
    test: Part


class Clock:
    """Wall and processor time between marks."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """Note the time."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def epoch(self, *names: str) -> Epoch:
        """What passed between the first marks, one name each."""
        passed = np.diff(self.marks[: len(names) + 1], axis=0).tolist()
        walls = {name: wall for name, (wall, _) in zip(names, passed, strict=True)}
        return walls | {f"{name} cpu": cpu for name, (_, cpu) in zip(names, passed, strict=True)}


class Marked:
    """An iterable that notes when somebody begins to read it."""

    def __init__(self, content: Any, clock: Clock) -> None:
        self.content, self.clock = content, clock

    def __iter__(self) -> Iterator[Any]:
        self.clock.mark()
        return iter(self.content)


def read(dataset: str, data: Path, steps: int) -> Data:
    """Features of a corpus's four-class label set, computed once, and the split; `steps` batches, or 0 for all."""
    recipe, loaded = plugins.load_model("glam").cls.recipe, plugins.load_corpus(dataset)
    cache = config.cache_folder()
    corpus = loaded.corpus.at(data)
    labels = next(each for each in corpus.label_sets if len(each.classes) == CLASSES)
    manifest = corpora.build_manifest(loaded.name, corpus, data, labels, cache=cache)
    paths = [utterance.path for utterance in manifest.utterances]
    assert recipe.features is not None
    channel = corpus.channel
    store = open_store(paths, manifest.audio_sha256, recipe.features, recipe.window, recipe.hop, channel, cache)
    order, targets = np.random.default_rng(SEED).permutation(len(paths)), np.array(manifest.targets)
    n_train = round(TRAIN_SHARE * len(paths))
    all_steps = len(store.items_of(order[:n_train])[0]) / recipe.batch_size
    share = min(1.0, steps / all_steps) if steps else 1.0
    parts = []
    for utterances in (order[:n_train], order[n_train:]):
        chosen = utterances[: round(share * len(utterances))]
        parts.append(Part(*store.items_of(chosen), targets[chosen]))
    return Data(store, *parts)


def reference_modules(reference: Path) -> tuple[types.ModuleType, types.ModuleType]:
    """The reference's `train` and `models`; packages that it imports and does not need here are left empty."""
    sys.path.insert(0, str(reference))
    for name, attributes in (
        ("pytorch_model_summary", ("summary",)),
        ("python_speech_features", ("logfbank", "fbank", "sigproc")),
    ):
        try:
            importlib.import_module(name)
        except ImportError:
            empty = types.ModuleType(name)
            vars(empty).update(dict.fromkeys(attributes, lambda *_: ""))
            sys.modules[name] = empty
    return importlib.import_module("train"), importlib.import_module("models")


def reference_epoch(reference: Path, data: Data) -> Callable[[], Epoch]:
    """A function that trains and evaluates the reference once, by its own loop."""
    loop, _ = reference_modules(reference)
    part, test, clock = data.train, data.test, Clock()
    x, y = data.store.batch(part.items)[0].numpy(), part.targets[part.owner].tolist()
    spoken = [data.store.batch(test.items[test.owner == i])[0].numpy() for i in range(len(test.targets))]

    def report(*_: object, output_dict: bool = False, **__: object) -> object:
        clock.mark()
        mean = {"recall": 1.0, "f1-score": 1.0}
        return {"accuracy": 1.0, "macro avg": mean, "weighted avg": mean} if output_dict else ""

    loader = torch.utils.data.DataLoader(loop.data_loader.DataSet(x, y), batch_size=32, shuffle=True)
    vars(loop).update(
        train_X=x,
        train_y=y,
        train_loader=Marked(loader, clock),
        val_dict=Marked([{"X": X, "y": y} for X, y in zip(spoken, test.targets.tolist(), strict=True)], clock),
        classification_report=report,
        metrics=types.SimpleNamespace(confusion_matrix=lambda *_: ""),
        target_names=[],
        filename="benchmark",
        ExponentialLR=torch.optim.lr_scheduler.ExponentialLR,
    )
    loop.setup_seed(SEED)

    def epoch() -> Epoch:
        clock.marks.clear()
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            loop.train(
                {
                    "model": "GLAM", "weight": None, "optimizer": "adam", "learning_rate": 1e-3, "lr_schedule": "exp",
                    "lr_min": 1e-6, "alpha": 0.5, "batch_size": 32, "epochs": 1, "seed": SEED, "SaveModel": False,
                    "datadir": folder, "dirname": folder,
                }
            )  # fmt: skip
        return clock.epoch("train", "evaluation")

    return epoch


def our_epoch(precision: str, data: Data) -> Callable[[], Epoch]:
    """A function that trains and evaluates ours once, as a fit does."""
    compute = Compute("cpu", precision)
    settle(compute.device)
    cls = plugins.load_model("glam").cls
    assert issubclass(cls, NeuralModel)
    recipe, part, test = cls.recipe, data.train, data.test
    rng = np.random.default_rng(SEED)

    def epoch() -> Epoch:
        network = build(cls, {}, recipe, data.store, part.items, data.store.input_shape, CLASSES, SEED)
        optimiser, _ = make_optimiser(recipe, network)
        clock = Clock()
        clock.mark()
        train_epoch(network, recipe, data.store, part, optimiser, None, rng, compute)
        clock.mark()
        found = predict(network, recipe, data.store, test.items, test.owner, len(test.targets), compute)
        score(test.targets, found.argmax(1), CLASSES)
        clock.mark()
        return clock.epoch("train", "evaluation")

    return epoch


def equality(reference: Path, data: Data) -> dict[str, float]:
    """Relative differences on one batch, from the same weights: logits, loss and gradients (L2)."""
    _, models = reference_modules(reference)
    golden = runpy.run_path(str(Path(__file__).parents[1] / "test_golden.py"))
    torch.manual_seed(SEED)
    theirs = models.GLAM(shape=data.store.input_shape)
    ours = plugins.load_model("glam").cls(data.store.input_shape, CLASSES)
    names = {name: golden["renamed"](name, golden["TRUNK"] + golden["GMLP"]) for name in theirs.state_dict()}
    own = ours.state_dict()
    ours.load_state_dict(
        {names[name]: value.reshape(own[names[name]].shape) for name, value in theirs.state_dict().items()}
    )
    chosen = np.random.default_rng(SEED).permutation(len(data.train.items))[:32]
    x, y = data.store.batch(data.train.items[chosen])[0], torch.from_numpy(data.train.targets[data.train.owner[chosen]])

    def outcome(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        logits = network(x)
        loss = functional.cross_entropy(logits, y)
        loss.backward()
        return logits, loss, {name: p.grad.flatten() for name, p in network.named_parameters() if p.grad is not None}

    logits, loss, gradients = outcome(theirs, x[:, None])
    our_logits, our_loss, our_gradients = outcome(ours, x)
    theirs_flat = torch.cat(list(gradients.values()))
    ours_flat = torch.cat([our_gradients[names[name]] for name in gradients])
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        evaluated, ours_evaluated = theirs(x[:, None]), ours(x)
    logits, our_logits, loss, our_loss = (value.detach() for value in (logits, our_logits, loss, our_loss))
    return {
        "logits in training": float((our_logits - logits).abs().max() / logits.abs().max()),
        "logits in evaluation": float((ours_evaluated - evaluated).abs().max() / evaluated.abs().max()),
        "loss": float((our_loss - loss).abs() / loss),
        "gradients": float((ours_flat - theirs_flat).norm() / theirs_flat.norm()),
    }


LIMITS = {"logits in training": 5e-5, "logits in evaluation": 5e-5, "loss": 1e-6, "gradients": 1e-3}


def floor() -> float:
    """Processor seconds of the heavy products of one step alone, each in its best layout: no step can be faster."""
    total = 0.0
    for (kernel, c_in, c_out, height, width), count in HEAVY.items():
        total += count * min(
            products(kernel, c_in, c_out, height, width, layout)
            for layout in (torch.contiguous_format, torch.channels_last)
        )
    return total


def products(kernel: int, c_in: int, c_out: int, height: int, width: int, layout: torch.memory_format) -> float:
    """The best of some times of a convolution, forward and backward."""
    x = torch.randn(32, c_in, height, width).to(memory_format=layout).requires_grad_()
    weight = torch.randn(c_out, c_in, kernel, kernel).to(memory_format=layout).requires_grad_()
    times = []
    for _ in range(8):
        started = time.process_time()
        out = functional.conv2d(x, weight, padding=kernel // 2)
        torch.autograd.grad(out, (x, weight), torch.ones_like(out))
        times.append(time.process_time() - started)
    return min(times)


def serve(pipe: Connection, kind: str, reference: Path, data: Data) -> None:
    """What a process does: an epoch of its kind whenever it is asked for one."""
    torch.set_num_threads(1)
    make: dict[str, Callable[[], Callable[[], Any]]] = {
        "reference": lambda: reference_epoch(reference, data),
        "equality": lambda: lambda: equality(reference, data),
        "floor": lambda: floor,
    }
    work = make.get(kind, lambda: our_epoch(kind, data))()
    with suppress(EOFError):  # nobody asks any more
        while True:
            os.sched_setaffinity(0, pipe.recv())
            pipe.send(work())


class Process:
    """A process of one kind: "reference", "equality", "floor", or a precision of ours."""

    def __init__(self, kind: str, reference: Path, data: Data) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, kind, reference, data), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, cores: set[int]) -> None:
        """Ask for a piece of work on some cores."""
        self.pipe.send(cores)

    def once(self, cores: set[int]) -> Any:
        """One piece of work."""
        self.begin(cores)
        return self.pipe.recv()

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.join()


def in_words(ratios: list[float]) -> str:
    """The median of some ratios, and their range."""
    return f"{median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"


def compare(kind: str, reference: Process, options: argparse.Namespace, data: Data, cores: set[int]) -> float:
    """Print the ratios of one precision; gives the reference's best processor time per step."""
    ours = Process(kind, options.reference, data)
    pairs = []
    for run in range(options.runs + 1):
        pair = [[process.once(cores) for _ in range(options.epochs)] for process in (reference, ours)]
        if run:  # the first warms up
            pairs.append([{name: sum(e[name] for e in epochs) for name in epochs[0]} for epochs in pair])
    ours.end()
    whole = [[{**e, "epoch": e["train"] + e["evaluation"], "epoch cpu": e["train cpu"] + e["evaluation cpu"]}
              for e in pair] for pair in pairs]  # fmt: skip
    print(f"{kind}, {options.runs} pairs | reference s | ours s | ratio of wall time | ratio of processor time")
    for name in ("train", "evaluation", "epoch"):
        theirs, own = (median(pair[i][f"{name} cpu"] for pair in whole) / options.epochs for i in (0, 1))
        ratios = [in_words([a[key] / b[key] for a, b in whole]) for key in (name, f"{name} cpu")]
        print(f"  {name:10} | {theirs:11.2f} | {own:6.2f} | {ratios[0]:18} | {ratios[1]}")
    batches = -(-len(data.train.items) // 32) * options.epochs
    return min(pair[0]["train cpu"] for pair in pairs) / batches


def together(options: argparse.Namespace, data: Data, cores: list[int]) -> None:
    """Print how much two processes, each pinned to a core, do in the time of one."""
    processes = [Process("fp32", options.reference, data) for _ in range(2)]
    ratios = []
    for run in range(options.runs + 1):
        alone = sum(processes[0].once({cores[0]})[name] for name in ("train", "evaluation"))
        for process, core in zip(processes, cores, strict=False):
            process.begin({core})
        both = [process.pipe.recv() for process in processes]
        if run:
            ratios.append(2 * alone / max(e["train"] + e["evaluation"] for e in both))
    for process in processes:
        process.end()
    print(f"two pinned processes do {in_words(ratios)} times what one does (wall time)")


def main() -> int:
    """Measure and print. The status is 1 if ours does not compute what the reference computes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of the reference")
    parser.add_argument("--data", type=Path, required=True, help="the corpus")
    parser.add_argument("--dataset", default="emodb", help="which corpus it is (default: emodb)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs per run (default: 1)")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs (default: 5)")
    parser.add_argument("--steps", type=int, default=0, help="so many training steps of an epoch, not all of them")
    options = parser.parse_args()
    try:
        importlib.import_module("g_mlp_pytorch")
    except ImportError:
        parser.error("the reference needs a package: pip install g-mlp-pytorch==0.1.5")
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the processes
    cores = sorted(os.sched_getaffinity(0))
    data = read(options.dataset, options.data, options.steps)
    n_train, n_test, spoken = len(data.train.items), len(data.test.items), len(data.test.targets)
    print(f"{n_train} windows to train on; to evaluate, {n_test} windows of {spoken} utterances")
    found = Process("equality", options.reference, data).once(set(cores))
    for name, value in found.items():
        print(f"  {name}: {value:.1e} apart (at most {LIMITS[name]:.0e})")
    reference = Process("reference", options.reference, data)
    step = compare("fp32", reference, options, data, set(cores))
    if multiplies_bf16("cpu"):
        compare("bf16", reference, options, data, set(cores))
    reference.end()
    least = Process("floor", options.reference, data).once(set(cores))
    print(
        f"a step: the reference takes {1000 * step:.0f} ms of processor time, the products alone {1000 * least:.0f} ms"
    )
    print(f"  so the step cannot be more than {step / least:.2f} times as fast with these products")
    if len(cores) > 1:
        together(options, data, cores)
    return int(any(value > LIMITS[name] for name, value in found.items()))


if __name__ == "__main__":
    raise SystemExit(main())
