"""Multi-scale CNN of the GLAM paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sertbench.feature_spec import mfcc
from sertbench.layers import MultiScaleTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class MultiScale(NeuralModel):
    """Multi-scale residual CNN on MFCC: GLAM without its global-aware block (ablation "Multi-scale").

    Zhu & Li, "Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation", ICASSP 2022.
    The function is that of `ResMultiConv3` of the authors' released code (686,820 parameters for 26 x 57 inputs and 4
    classes): the maps go straight into one linear layer. Like GLAM, it has ReLUs that the paper's figure does not draw.
    """

    paper = (
        "Zhu & Li, Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation, "
        "ICASSP 2022"
    )
    family = "CNN"
    year = 2022
    n_parameters = 686_820
    recipe = Recipe(
        features=mfcc(26),
        window=1.8,
        hop=0.2,
        normalise="none",
        optimiser="adam",
        learning_rate=1e-3,
        weight_decay=1e-6,
        schedule="exponential",
        gamma=0.95,
        epochs=50,
        batch_size=32,
        mixup=0.5,
        average="logits",
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        height, width = MultiScaleTrunk.positions(input_shape)
        self.trunk = MultiScaleTrunk()
        self.classify = nn.Linear(MultiScaleTrunk.channels * height * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), F >= 2, T >= 4."""
        logits: Tensor = self.classify(self.trunk(x).flatten(1))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings around the published ones."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "mixup": trial.suggest_float("mixup", 0.0, 1.0),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        }
