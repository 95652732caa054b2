"""What a training step is made of: batches, mixup, parts of a batch, class weights, the optimiser and its schedule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from sertbench.compute import Compute
from sertbench.model import Recipe
from sertbench.network import Part


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut an order into batches; a last batch of one joins the one before, because batch normalisation needs two."""
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    yield from np.split(order, cuts)


def draw_mixup(size: int, alpha: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What mixup draws for a batch: the shares (2,) of an item and of its partner, and the partners (size,)."""
    lam = float(rng.beta(alpha, alpha))
    return np.array([lam, 1 - lam], np.float32), rng.permutation(size)


def mixup(x: Tensor, lengths: Tensor, shares: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Mix each item with another of its batch (Zhang et al., mixup, ICLR 2018): x', lengths'."""
    return shares[0] * x + shares[1] * x[partner], torch.maximum(lengths, lengths[partner])


def cut(size: int, parts: int) -> Iterator[slice]:
    """Cut a batch into `parts` of about equal size, or into fewer, so that none has less than two items."""
    edges = np.linspace(0, size, max(1, min(parts, size // 2)) + 1).astype(int).tolist()
    return map(slice, edges[:-1], edges[1:])


def class_weights(recipe: Recipe, part: Part, n_classes: int, compute: Compute) -> Tensor | None:
    """Inverse class frequencies of the training items with mean 1 over items, (n_classes,), or None."""
    if not recipe.class_weights:
        return None
    counts = np.bincount(part.targets[part.owner], minlength=n_classes)
    return torch.from_numpy(counts.sum() / (n_classes * np.maximum(counts, 1))).float().to(compute.device)


def make_optimiser(
    recipe: Recipe, network: nn.Module, *, recordable: bool = False
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimiser and its per-epoch schedule.

    A step that is to be recorded (see `recording`) has the learning rate on the device.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    rate: float | Tensor = recipe.learning_rate
    if recordable:
        rate = torch.tensor(rate, device=weights[0].device)
    decay = recipe.weight_decay
    optimiser: torch.optim.Optimizer
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(
            weights, rate, recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0, fused=recordable or None
        )
    else:
        kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
        # fused: one pass over the weights, not twelve
        optimiser = kind(weights, rate, weight_decay=decay, capturable=recordable, fused=True)
    optimiser.register_load_state_dict_post_hook(keep_own_settings)
    schedulers = torch.optim.lr_scheduler
    schedule: torch.optim.lr_scheduler.LRScheduler
    if recipe.schedule == "exponential":
        schedule = schedulers.ExponentialLR(optimiser, recipe.gamma)
    elif recipe.schedule == "step":
        schedule = schedulers.StepLR(optimiser, recipe.step_size, recipe.gamma)
    elif recipe.schedule == "cosine":
        schedule = schedulers.CosineAnnealingLR(optimiser, recipe.epochs)
    else:
        schedule = schedulers.ConstantLR(optimiser, 1.0, 1)
    return optimiser, schedule


def keep_own_settings(optimiser: torch.optim.Optimizer) -> None:
    """Whether steps are recorded is the optimiser's own matter, not that of the checkpoint that it was read from.

    A checkpoint brings the learning rate, as a number or as a tensor; how a step is computed stays as it was made.
    """
    own = optimiser.defaults
    for group in optimiser.param_groups:
        group.update({name: own[name] for name in ("capturable", "fused") if name in own})
        on_device = isinstance(own["lr"], Tensor)
        group["lr"] = torch.as_tensor(group["lr"], device=own["lr"].device) if on_device else float(group["lr"])
