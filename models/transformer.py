"""Transformer encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import masked_mean, stack_frames, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import feed_forward, sinusoids, split_heads

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class EncoderLayer(nn.Module):
    """Multi-head self-attention and a perceptron, each normalised first and added: (B, T, D) to (B, T, D)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.perceptron = feed_forward(width, hidden, nn.ReLU(), dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, D); steps attend to those where mask (B, T) is True."""
        q, k, v = (split_heads(part, self.heads) for part in self.project_in(self.norm(x)).chunk(3, 2))
        share = self.dropout.p if self.training else 0.0
        seen = functional.scaled_dot_product_attention(q, k, v, mask[:, None, None], dropout_p=share)
        x = x + self.dropout(self.project_out(seen.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.perceptron(x)
        return out


class Transformer(NeuralModel):
    """Transformer encoder on whole utterances of log-mel frames, mean-pooled over time.

    The encoder of Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with their sinusoids as positions; for
    speech emotion on log-mel energies with positions and no recurrence, as Nediyanchath, Paramasivam & Yenigalla,
    "Multi-Head Attention for Speech Emotion Recognition with Auxiliary Learning of Gender Recognition", ICASSP 2020,
    use it (their gender task is left out: a corpus need not say the gender). 810,372 parameters for 4 classes.

    Neither paper fixes a size for a few thousand utterances: 4 layers of width 128, 4 heads and 512 hidden units are
    chosen here, a quarter of Vaswani's base width, and steps of 40 ms (two frames). Vaswani's dropout of 0.1 and label
    smoothing of 0.1 are kept. The norm stands before each sub-layer instead of after it (Xiong et al., "On Layer
    Normalization in the Transformer Architecture", ICML 2020), which needs no warm-up of the learning rate.
    """

    paper = "Vaswani et al., Attention Is All You Need, NeurIPS 2017"
    family = "transformer"
    year = 2017
    n_parameters = 810_372
    recipe = Recipe(
        features=log_mel(64, n_fft=640, hop_length=320),
        optimiser="adamw",
        learning_rate=5e-4,
        weight_decay=1e-2,
        schedule="cosine",
        class_weights=True,
        label_smoothing=0.1,
        clip_norm=5.0,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        stack: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.stack = stack
        self.project = nn.Linear(stack * input_shape[0], width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, 4 * width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        steps, lengths = stack_frames(x, lengths, self.stack)
        T = steps.shape[1]
        mask = valid_frames(lengths, T)
        steps = self.project(steps)  # (B, T', width)
        steps = self.dropout(steps + sinusoids(torch.arange(T, device=x.device), steps.shape[2]))
        for layer in self.layers:
            steps = layer(steps, mask)
        logits: Tensor = self.classify(masked_mean(self.norm(steps), mask))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation, depth and width."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 5e-5, 2e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.4),
            "layers": trial.suggest_int("layers", 1, 6),
            "width": trial.suggest_categorical("width", [64, 128, 256]),
        }
