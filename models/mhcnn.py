"""MHCNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sertbench.attention_layers import HeadFusion
from sertbench.feature_spec import mfcc
from sertbench.layers import TwoFilterTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class MHCNN(NeuralModel):
    """Two-filter CNN on MFCC with four fused attention heads and global average pooling.

    Xu, Zhang & Zhang, "Improve Accuracy of Speech Emotion Recognition with Attention Head Fusion", CCWC 2020, as the
    GLAM authors released it beside their own network (155,636 parameters for 4 classes and any input). Heads weigh the
    channels of a position element by element; no position attends to another one. The released script trains on
    windows of 2 s every 1 s, as here, and tests on windows every 0.4 s; here both are the same windows.
    """

    paper = "Xu, Zhang & Zhang, Improve Accuracy of Speech Emotion Recognition with Attention Head Fusion, CCWC 2020"
    family = "CNN + attention"
    year = 2020
    n_parameters = 155_636
    recipe = Recipe(
        features=mfcc(26),
        window=2.0,
        hop=1.0,
        normalise="none",
        optimiser="adam",
        learning_rate=1e-3,
        weight_decay=1e-6,
        schedule="step",
        gamma=0.1,
        step_size=10,
        epochs=50,
        batch_size=32,
        average="logits",
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.trunk = TwoFilterTrunk()
        self.classify = nn.Linear(64, n_classes)
        self.attend = HeadFusion(TwoFilterTrunk.channels, width=64, heads=4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), F >= 5, T >= 5."""
        logits: Tensor = self.classify(self.attend(self.trunk(x)).mean((2, 3)))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings around the published ones."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        }
