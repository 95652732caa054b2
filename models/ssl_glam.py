"""GLAM on the frames of a frozen encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import ssl_frames
from sertbench.layers import GatedMLP, MultiScaleTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class SslGLAM(NeuralModel):
    """GLAM's network on the frames of a frozen encoder, which a linear layer projects to as many rows as it has MFCC.

    Zhu & Li, "Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation", ICASSP 2022,
    with hidden states instead of MFCC: our combination, not the paper's. The projection to 26 rows keeps its size; on
    768 rows the gMLP block alone would have 280 million parameters. Windows are cut from the frames of the whole
    utterance. 1.8 s are 90 frames here, and 57 there.
    """

    paper = (
        "Zhu & Li, Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation, "
        "ICASSP 2022"
    )
    family = "SSL + CNN + gMLP"
    year = 2022
    n_parameters = 1_270_496
    recipe = Recipe(
        features=ssl_frames("facebook/hubert-base-ls960"),
        window=1.8,
        hop=0.2,
        learning_rate=1e-3,
        weight_decay=1e-6,
        schedule="exponential",
        gamma=0.95,
        epochs=50,
        batch_size=32,
        mixup=0.5,
    )
    feature_kinds = ("ssl_frames",)

    def __init__(self, input_shape: tuple[int, int], n_classes: int, rows: int = 26) -> None:
        super().__init__(input_shape, n_classes)
        height, width = MultiScaleTrunk.positions((rows, input_shape[1]))
        self.project = nn.Linear(input_shape[0], rows)
        self.trunk = MultiScaleTrunk()
        self.classify = nn.Linear(MultiScaleTrunk.channels * height * width, n_classes)
        self.fuse = GatedMLP(tokens=MultiScaleTrunk.channels, width=height * width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, L * H, T), T >= 4."""
        projected = self.project(x.transpose(1, 2)).transpose(1, 2)
        tokens = self.trunk(projected).flatten(2)
        logits: Tensor = self.classify(functional.relu_(self.fuse(tokens)).flatten(1))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings around GLAM's."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "mixup": trial.suggest_float("mixup", 0.0, 1.0),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        }
