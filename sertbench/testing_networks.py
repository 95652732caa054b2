"""Checks of neural models: what a network must keep so that its numbers can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sertbench import testing_learning as learning
from sertbench import testing_prediction as prediction
from sertbench import testing_recipes as recipes
from sertbench.compute import multiplies_bf16
from sertbench.errors import PluginError
from sertbench.feature_spec import FeatureSpec
from sertbench.model import NeuralModel
from sertbench.testing import Check
from sertbench.testing_sounds import CLASSES, as_in_a_fit, differ, inputs, make


def has_features(cls: type[NeuralModel]) -> None:
    """A network needs features."""
    recipes.valid_recipe(cls)
    if cls.recipe.features is None:
        raise PluginError(
            f"{cls.__name__}.recipe names no features: a neural model needs them, e.g. Recipe(features=log_mel(64))"
        )
    if not isinstance(cls.recipe.features, FeatureSpec):
        raise PluginError(
            f"{cls.__name__}.recipe names {cls.recipe.features.kind}, one row of values per utterance: a neural model "
            "needs frames, e.g. Recipe(features=log_mel(64)); an Estimator takes such rows"
        )


@as_in_a_fit()
def builds(cls: type[NeuralModel]) -> None:
    """The constructor takes any number of classes, and other input shapes than the recipe's."""
    recipes.valid_constructor(cls)
    for shape, n_classes in shapes(cls):
        network = make(cls, shape, n_classes)
        if (network.model.n_classes, network.model.input_shape[0]) != (n_classes, shape[0]):
            raise PluginError(f"{cls.__name__}.__init__ must begin with `super().__init__(input_shape, n_classes)`")


def shapes(cls: type[NeuralModel]) -> Iterator[tuple[tuple[int, int], int]]:
    """Input shapes and class counts to try; the recipe's own shape first."""
    F, T = inputs(cls, 2).input_shape
    yield from (((F, T), n) for n in (2, CLASSES, 8))
    yield from (((F, T + T // 2), CLASSES), ((F + 6, T), CLASSES))


@as_in_a_fit()
@torch.no_grad()
def gives_one_row_per_item(cls: type[NeuralModel]) -> None:
    """Shape (B, n_classes), whatever the input shape, the number of classes and the number of items."""
    for (F, T), n_classes in shapes(cls):
        network = make(cls, (F, T), n_classes).eval()
        for B in (1, 3):
            logits = network(torch.randn(B, F, T), torch.full((B,), T))
            if logits.shape != (B, n_classes):
                raise PluginError(
                    f"forward gave shape {tuple(logits.shape)} for x of shape {(B, F, T)}: it must be (B, n_classes) = "
                    f"{(B, n_classes)}. The last layer should have `n_classes` outputs, one row per item"
                )


@as_in_a_fit()
@torch.no_grad()
def gives_logits(cls: type[NeuralModel]) -> None:
    """The loss applies the softmax itself; a second one flattens the gradient."""
    data = inputs(cls, 8)
    logits = make(cls, data.input_shape).eval()(data.x, data.lengths)
    if (logits >= 0).all() and differ(logits.sum(1), torch.ones(len(logits)), 1e-3) is None:
        raise PluginError(
            "forward gives probabilities (rows sum to 1): remove the softmax at its end. The loss is cross-entropy on "
            "logits, and a softmax before it slows or stops the training"
        )
    if logits.logsumexp(1).abs().max() < 1e-3:
        raise PluginError(
            "forward gives log-probabilities: remove the log_softmax at its end. Logits are averaged over the windows "
            "of an utterance, and log-probabilities have another mean"
        )


CHECKS = (
    Check("documentation", recipes.documented, "The class says what it is and where it is from", needed=True),
    Check("recipe", has_features, "The recipe holds features and settings that can be", needed=True),
    Check("builds", builds, "The constructor takes (input_shape, n_classes) of any size", needed=True),
    Check("output_shape", gives_one_row_per_item, "forward gives (B, n_classes)", needed=True),
    Check("logits", gives_logits, "forward ends without a softmax", needed=True),
    Check("finite", learning.is_finite, "Silence and loud noise give finite logits and gradients"),
    Check("gradients", learning.trains_every_parameter, "Gradients reach every parameter"),
    Check("learns", learning.learns_by_heart, "16 items are learnt by heart"),
    Check("no_chance", prediction.predicts_without_chance, "Predictions are not random", needed=True),
    Check("no_state", prediction.keeps_no_state, "Nothing is kept between two batches", needed=True),
    Check("alone", prediction.predicts_each_item_alone, "An item is predicted the same alone and in any batch"),
    Check("padding", prediction.ignores_padding, "Frames past the length change nothing"),
    Check("search_space", learning.searches_what_it_can_train, "What search_space draws can be trained"),
    Check("repeatable", learning.trains_the_same_again, "The same seed gives the same weights"),
    Check("saves", prediction.saves_and_loads, "The state dict holds everything"),
    Check("bf16", learning.runs_in_bf16, "Training works under bfloat16 autocast"),
)


def checks(cls: type[NeuralModel]) -> tuple[Check, ...]:
    """All checks; that of padding is for models of whole utterances, that of bf16 for machines that compute in it."""
    whole = getattr(getattr(cls, "recipe", None), "window", None) is None
    applies = {"padding": whole, "bf16": multiplies_bf16("cpu")}
    return tuple(check for check in CHECKS if applies.get(check.name, True))
