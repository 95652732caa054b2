"""The one training loop of all neural models, and prediction. It yields events and prints nothing.

Everything here is deterministic: the same network, data, seed, device and precision give the same weights bit for bit.
Fits run on one CPU thread each (see `executors`), because the sum of a product depends on how many threads share it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench import turns
from sertbench.checkpoints import Checkpoint, capture, restore
from sertbench.compute import Compute, unfilled
from sertbench.errors import TrainingError, few
from sertbench.model import Recipe
from sertbench.network import Network, Part, Source
from sertbench.optimisation import batches, class_weights, cut, draw_mixup, make_optimiser, mixup
from sertbench.recording import Recording
from sertbench.scores import score
from sertbench.stopwatch import lap

PREDICT_BATCH = {"cpu": 32, "cuda": 256}  # larger batches leave the CPU's caches and are slower


@dataclass(frozen=True)
class EpochEnd:
    """What is known after one epoch."""

    epoch: int  #           from 1
    loss: float  #          mean training loss of the epoch
    val_uar: float  #       unweighted average recall on the validation part, 0 to 1
    val_loss: float  #      cross-entropy of the utterance probabilities on the validation part
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """The outcome of a fit: the weights of the epoch with the best validation UAR (the earliest of equals)."""

    state: dict[str, Tensor]
    best_epoch: int
    val_uar: float
    history: tuple[EpochEnd, ...]
    pruned: bool
    note: str = ""  # what happened on the way, in words


@unfilled()
def train_epoch(
    network: Network,
    recipe: Recipe,
    source: Source,
    part: Part,
    optimiser: torch.optim.Optimizer,
    weight: Tensor | None,
    rng: np.random.Generator,
    compute: Compute,
    parts: int = 1,
    recording: Recording | None = None,
) -> float:
    """One pass over the training items in random order; gives the mean loss.

    `parts` cuts each batch into so many (of two items at least), whose gradients add up to the batch's: less memory is
    needed for it. Only batch normalisation tells the difference. `recording` is the recorded step of a fit on a GPU.
    """
    network.train()
    targets = torch.from_numpy(part.targets[part.owner]).to(compute.device)
    total = torch.zeros((), device=compute.device)

    def loss_of(logits: Tensor, y: Tensor, part: slice) -> Tensor:
        """What a part of a batch with the targets `y` adds to the batch's mean loss."""
        share = len(logits) / len(y) if weight is None else weight[y[part]].sum() / weight[y].sum()
        return share * functional.cross_entropy(logits, y[part], weight, label_smoothing=recipe.label_smoothing)

    def step(x: Tensor, lengths: Tensor, y: Tensor, *drawn: Tensor) -> Tensor:
        """Change the weights by one batch; gives the sum of its losses. `drawn`: mixup's shares and partners, if any.

        Nothing here may wait for the device, and what changes from batch to batch must be a tensor (see `recording`).
        """
        x = network.normaliser(x, lengths)
        if drawn:
            x, lengths = mixup(x, lengths, *drawn)
        lost = torch.zeros((), device=compute.device)
        lap("batches")
        optimiser.zero_grad(set_to_none=True)
        for part_of in cut(len(y), parts):
            with compute.autocast():
                logits = network(x[part_of], lengths[part_of])
            loss = loss_of(logits, y, part_of)
            if drawn:
                shares, partner = drawn
                loss = shares[0] * loss + shares[1] * loss_of(logits, y[partner], part_of)
            lap("forward")
            loss.backward()  # type: ignore[no-untyped-call]
            lap("backward")
            lost += loss.detach() * len(y)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimiser.step()
        lap("optimiser")
        return lost

    if recording is not None:
        recording.next_epoch()
    for chosen in batches(rng.permutation(len(part.items)), recipe.batch_size):
        turns.pause()
        x, lengths = (t.to(compute.device) for t in source.batch(part.items[chosen]))
        inputs = [x, lengths, targets[compute.upload(chosen)]]
        if recipe.mixup > 0:
            inputs += map(compute.upload, draw_mixup(len(chosen), recipe.mixup, rng))
        lap("batches")
        total += step(*inputs) if recording is None else recording.run(step, *inputs)
        if recording is not None:
            lap("replay")
    with turns.away():
        return float(total) / len(part.items)


@unfilled()
@torch.inference_mode()
def predict(
    network: Network,
    recipe: Recipe,
    source: Source,
    items: np.ndarray,
    owner: np.ndarray,
    n_utterances: int,
    compute: Compute,
    parts: int = 1,
) -> np.ndarray:
    """Class probabilities per utterance, (n_utterances, n_classes) float32: items are averaged as the recipe says.

    `parts` divides the number of items that are looked at together.
    """
    lap("set-up")
    network.eval()
    size = max(1, PREDICT_BATCH[compute.device] // parts)
    outputs = []
    for start in range(0, len(items), size):
        turns.pause()
        x, lengths = (t.to(compute.device) for t in source.batch(items[start : start + size]))
        lap("batches")
        with compute.autocast():
            logits = network(network.normaliser(x, lengths), lengths)
        outputs.append(logits if recipe.average == "logits" else logits.softmax(1))
        lap("evaluation")
    with turns.away():
        every = torch.cat(outputs).double().cpu()
    total = torch.zeros(n_utterances, network.model.n_classes, dtype=torch.float64)
    total.index_add_(0, torch.from_numpy(owner), every)
    lap("evaluation")
    mean = total / torch.from_numpy(np.bincount(owner, minlength=n_utterances))[:, None]
    probabilities: np.ndarray = (mean.softmax(1) if recipe.average == "logits" else mean).float().numpy()
    return probabilities


def refuse_divergence(loss: float, epoch: int, rate: float, compute: Compute) -> None:
    """TrainingError for a loss that is no longer finite."""
    if not np.isfinite(loss):
        raise TrainingError(
            f"the training loss became {loss} in epoch {epoch} (learning rate {rate:g}). {remedies(compute)}"
        )


def refuse_broken_weights(network: Network, rate: float, compute: Compute) -> None:
    """TrainingError if the last step broke the weights: no loss of a next step tells of it."""
    if broken := broken_weights(network):
        raise TrainingError(
            f"training ended in weights that are not finite (learning rate {rate:g}): {few(broken, 3)}. "
            f"{remedies(compute)}"
        )


def broken_weights(network: Network) -> list[str]:
    """The names of parameters and buffers that are not finite. Buffers may hold infinities (a mask), never NaN."""
    broken = [name for name, value in network.named_parameters() if not value.isfinite().all()]
    return broken + [name for name, value in network.named_buffers() if value.isnan().any()]


def remedies(compute: Compute) -> str:
    """What helps against numbers that are not finite, as far as that is for the user to change."""
    fp32 = "" if compute.precision == "fp32" else ", run with --precision fp32"
    return (
        f"Lower the learning rate{fp32}, or set clip_norm in the recipe; `sertbench check` tells whether forward gives "
        "such numbers by itself"
    )


def recording_of(network: Network, optimiser: torch.optim.Optimizer, compute: Compute) -> Recording | None:
    """The recorded step of a fit: where that is possible, and batches of windows alone, whose shape is always one."""
    return Recording(network, optimiser, compute.device) if recordable(compute) and not network.whole else None


def recordable(compute: Compute) -> bool:
    """Whether training steps are recorded (see `recording`): on a GPU that several fits share."""
    return compute.device == "cuda" and turns.shared()


def train_for(
    network: Network,
    recipe: Recipe,
    source: Source,
    part: Part,
    epochs: int,
    seed: int,
    compute: Compute,
    checkpoint: Checkpoint | None = None,
    parts: int = 1,
) -> dict[str, Tensor]:
    """Train for exactly `epochs` epochs of the recipe's schedule, looking at no validation score; gives the weights.

    `checkpoint` and `parts` are as for `train`.
    """
    network.to(compute.device)
    rng = np.random.default_rng(seed)
    optimiser, schedule = make_optimiser(recipe, network, recordable=recordable(compute))
    recording = recording_of(network, optimiser, compute)
    weight = class_weights(recipe, part, network.model.n_classes, compute)
    done = checkpoint.load() if checkpoint else None
    if done is not None:
        restore(done["loop"], network, optimiser, schedule, rng)
    lap("set-up")
    for epoch in range(done["epoch"] + 1 if done else 1, epochs + 1):
        loss = train_epoch(network, recipe, source, part, optimiser, weight, rng, compute, parts, recording)
        refuse_divergence(loss, epoch, float(optimiser.param_groups[0]["lr"]), compute)
        schedule.step()
        if checkpoint is not None and checkpoint.due:
            loop = capture(network, optimiser, schedule, rng)
            checkpoint.save({"loop": loop, "epoch": epoch, "parts": parts})
        lap("checkpoints")
    refuse_broken_weights(network, recipe.learning_rate, compute)
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def train(
    network: Network,
    recipe: Recipe,
    source: Source,
    train_part: Part,
    val_part: Part,
    seed: int,
    compute: Compute,
    stop_below: tuple[float, ...] = (),
    checkpoint: Checkpoint | None = None,
    parts: int = 1,
) -> Generator[EpochEnd, None, Fitted]:
    """Train with early stopping on the validation UAR; yields after every epoch and returns the best epoch's weights.

    `stop_below[e]`, if given, prunes the fit when its best validation UAR after epoch e + 1 is lower.
    With a `checkpoint`, epochs that it holds are yielded again and not trained again; nothing else changes.
    `parts` is how many parts a batch is cut into to save memory (see `train_epoch`).
    Raises TrainingError when the loss is no longer finite, or the weights after the last step.
    """
    network.to(compute.device)
    rng = np.random.default_rng(seed)
    optimiser, schedule = make_optimiser(recipe, network, recordable=recordable(compute))
    recording = recording_of(network, optimiser, compute)
    n_classes = network.model.n_classes
    weight = class_weights(recipe, train_part, n_classes, compute)
    history: list[EpochEnd] = []
    best, state, pruned = EpochEnd(0, np.inf, -1.0, np.inf, 0.0, 0.0), {}, False
    done = checkpoint.load() if checkpoint else None
    if done is not None:
        restore(done["loop"], network, optimiser, schedule, rng)
        history, state = [EpochEnd(*values) for values in json.loads(done["history"])], done["state"]
    lap("set-up")
    for epoch in range(1, recipe.epochs + 1):
        if fresh := epoch > len(history):
            started, rate = time.perf_counter(), float(optimiser.param_groups[0]["lr"])
            loss = train_epoch(network, recipe, source, train_part, optimiser, weight, rng, compute, parts, recording)
            refuse_divergence(loss, epoch, rate, compute)
            schedule.step()
            owner, targets = val_part.owner, val_part.targets
            probabilities = predict(network, recipe, source, val_part.items, owner, len(targets), compute, parts)
            val_loss = float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())
            val_uar = score(targets, probabilities.argmax(1), n_classes).uar
            history.append(EpochEnd(epoch, loss, val_uar, val_loss, rate, time.perf_counter() - started))
            lap("scores")
        if history[epoch - 1].val_uar > best.val_uar:
            best = history[epoch - 1]
            if fresh:
                state = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
        if fresh and checkpoint is not None and checkpoint.due:
            loop = capture(network, optimiser, schedule, rng)
            events = json.dumps([astuple(event) for event in history])
            checkpoint.save({"loop": loop, "epoch": epoch, "history": events, "state": state, "parts": parts})
        lap("checkpoints")
        yield history[epoch - 1]
        lap("reports")
        if epoch <= len(stop_below) and best.val_uar < stop_below[epoch - 1]:
            pruned = True
            break
        if epoch - best.epoch >= recipe.patience:
            break
    refuse_broken_weights(network, recipe.learning_rate, compute)
    note = recording.note if recording is not None else ""
    return Fitted(state, best.epoch, best.val_uar, tuple(history[:epoch]), pruned, note)
