"""APCNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sertbench.feature_spec import framed_spectrogram
from sertbench.layers import TwoFilterTrunk
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class APCNN(NeuralModel):
    """Two-filter CNN on spectrograms with attention pooling: class scores weighed by salience, averaged over positions.

    Li et al., "An Attention Pooling based Representation Learning Method for Speech Emotion Recognition", INTERSPEECH
    2018, as the GLAM authors released it beside their own network (`CNN_AttnPooling`; 93,573 parameters for 4 classes
    and any input). The class scores of a position go through a softmax over the classes before they are weighed, and
    logits are a mean over positions, so they start small and grow slowly. The released script trains on windows of 2 s
    every 1 s, as here, and tests on windows every 0.4 s; what it calls warm-up steps are, in effect, plain steps.
    """

    paper = (
        "Li et al., An Attention Pooling based Representation Learning Method for Speech Emotion Recognition, "
        "INTERSPEECH 2018"
    )
    family = "CNN + attention"
    year = 2018
    n_parameters = 93_573
    recipe = Recipe(
        features=framed_spectrogram(frame_length=640, hop_length=160, n_fft=3198, n_bins=400),
        window=2.0,
        hop=1.0,
        normalise="none",
        optimiser="sgd",
        learning_rate=0.05,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="step",
        gamma=0.1,
        step_size=10,
        epochs=50,
        batch_size=128,
        average="logits",
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.trunk = TwoFilterTrunk()
        self.top_down = nn.Conv2d(TwoFilterTrunk.channels, n_classes, 1)
        self.bottom_up = nn.Conv2d(TwoFilterTrunk.channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), F >= 5, T >= 5."""
        x = self.trunk(x)
        logits: Tensor = (self.top_down(x).softmax(1) * self.bottom_up(x)).mean((2, 3))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings around the published ones."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 5e-3, 0.2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        }
