"""AACNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.attention_layers import AreaAttention
from sertbench.feature_spec import mfcc
from sertbench.layers import TwoFilterTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class AACNN(NeuralModel):
    """Two-filter CNN on MFCC with area attention over the positions of its map.

    Xu, Zhang, Cui & Zhang, "Speech Emotion Recognition with Multiscale Area Attention and Data Augmentation", ICASSP
    2021, as the GLAM authors released it beside their own network (151,108 parameters for 26 x 63 inputs and 4
    classes). It asks for areas of up to 3x3 positions, but only runs of 1 to 3 positions along the flattened map come
    about, and scores are not scaled. There is no released script for it: the recipe is that of MHCNN, by the same
    authors, without the paper's augmentation by vocal tract length perturbation.
    """

    paper = (
        "Xu, Zhang, Cui & Zhang, Speech Emotion Recognition with Multiscale Area Attention and Data Augmentation, "
        "ICASSP 2021"
    )
    family = "CNN + attention"
    year = 2021
    n_parameters = 151_108
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
        self.trunk = TwoFilterTrunk(along_height=True)
        height, width = self.trunk.positions(input_shape)
        self.classify = nn.Linear(TwoFilterTrunk.channels * height * width, n_classes)
        self.attend = AreaAttention(widest=3, dropout=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), F >= 3, T >= 5."""
        tokens = self.trunk(x).flatten(2).transpose(1, 2)  # (B, positions, 80): each position is a token
        logits: Tensor = self.classify(functional.relu_(self.attend(tokens)).flatten(1))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings around the published ones."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        }
