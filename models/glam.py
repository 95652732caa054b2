"""GLAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import mfcc
from sertbench.layers import GatedMLP, MultiScaleTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class GLAM(NeuralModel):
    """Global-aware multi-scale network: multi-scale residual CNN on MFCC, a gMLP block over its channels.

    Zhu & Li, "Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation", ICASSP 2022.
    The function is that of the authors' released code (904,078 parameters for 26 x 57 inputs and 4 classes), which
    departs from the paper's figure: the gate goes through a tanh, ReLUs follow the norms and the global-aware block,
    and the kernel that the figure calls spatial runs along time (and the temporal one along the coefficients).
    """

    paper = (
        "Zhu & Li, Speech Emotion Recognition with Global-Aware Fusion on Multi-Scale Feature Representation, "
        "ICASSP 2022"
    )
    family = "CNN + gMLP"
    year = 2022
    n_parameters = 904_078
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
        self.fuse = GatedMLP(tokens=MultiScaleTrunk.channels, width=height * width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), F >= 2, T >= 4."""
        tokens = self.trunk(x).flatten(2)  # (B, 128, F // 2 * T // 4): each channel is a token
        logits: Tensor = self.classify(functional.relu_(self.fuse(tokens)).flatten(1))
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
