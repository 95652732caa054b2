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


def mixup(x: Tensor, lengths: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    """Mix each item with another of its batch (Zhang et al., mixup, ICLR 2018): x', lengths', partner, lambda."""
    lam = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    return lam * x + (1 - lam) * x[partner], torch.maximum(lengths, lengths[partner]), partner, lam


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
    recipe: Recipe, network: nn.Module
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimiser and its per-epoch schedule."""
    weights = [p for p in network.parameters() if p.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    optimiser: torch.optim.Optimizer
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(weights, rate, recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0)
    else:
        kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(weights, lr=rate, weight_decay=decay, fused=True)  # one pass over the weights, not twelve
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
