"""Checks of neural models: what a network must keep so that its numbers can be trusted."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from sertbench import testing_learning as learning
from sertbench import testing_prediction as prediction
from sertbench import testing_recipes as recipes
from sertbench.counting import parameters
from sertbench.errors import PluginError
from sertbench.feature_spec import SAMPLE_RATE, UtteranceSpec, pooled
from sertbench.model import NeuralModel
from sertbench.plugin_import import place, said
from sertbench.testing import Check
from sertbench.testing_sounds import CLASSES, LONGEST, as_in_a_fit, differ, inputs, make


def has_features(cls: type[NeuralModel]) -> None:
    """A network needs features."""
    recipes.valid_recipe(cls)
    if cls.recipe.features is None:
        raise PluginError(
            f"{cls.__name__}.recipe names no features: a neural model needs them, e.g. Recipe(features=log_mel(64))"
        )
    if isinstance(cls.recipe.features, UtteranceSpec):
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


@as_in_a_fit()
def states_its_size(cls: type[NeuralModel]) -> None:
    """`n_parameters`, if it is stated, is what the constructor makes for the recipe's input and 4 classes."""
    built, _ = parameters(make(cls, full_shape(cls)).model)
    if cls.n_parameters and cls.n_parameters != built:
        raise PluginError(
            f"{cls.__name__}.n_parameters = {cls.n_parameters!r}, but the network has {built:,} parameters for the "
            f"recipe's input and {CLASSES} classes: write n_parameters = {built:_}, or leave it out"
        )


def full_shape(cls: type[NeuralModel]) -> tuple[int, int]:
    """The input shape of the recipe's own windows; of the longest test sound for whole utterances."""
    spec = cls.recipe.features
    assert spec is not None, "has_features comes first"
    return spec.rows, spec.frames(round((cls.recipe.window or LONGEST) * SAMPLE_RATE))


def shapes(cls: type[NeuralModel]) -> Iterator[tuple[tuple[int, int], int]]:
    """Input shapes and class counts to try; the recipe's own shape first."""
    F, T = full_shape(cls)
    yield from (((F, T), n) for n in (2, CLASSES, 8))
    yield from (((F, T + T // 2), CLASSES), ((F + 6, T), CLASSES))


def takes_what_it_is_given(cls: type[NeuralModel]) -> None:
    """`forward` takes x, and the lengths if and only if utterances come whole."""
    window = cls.recipe.window
    given = ("x",) if window else ("x", "lengths")
    try:
        inspect.signature(cls.forward).bind("self", *given)
    except TypeError as error:
        other = "None (whole utterances)" if window else "a number of seconds, with a hop (windows)"
        raise PluginError(
            f"{cls.__name__}.forward does not take {' and '.join(given)} ({error}): with window = {window} in the "
            f"recipe it must be `forward(self, {', '.join(given)})`. Or set the recipe's window to {other}"
        ) from error


@as_in_a_fit()
@torch.no_grad()
def gives_one_row_per_item(cls: type[NeuralModel]) -> None:
    """Shape (B, n_classes), whatever the input shape, the number of classes and the number of items."""
    takes_what_it_is_given(cls)
    for number, ((F, T), n_classes) in enumerate(shapes(cls)):
        for B in (1, 3):
            x = torch.randn(B, F, T)
            logits = logits_of(cls, x, n_classes, first=number == 0)
            if logits.shape != (B, n_classes):
                raise PluginError(
                    f"forward gave shape {tuple(logits.shape)} for x of shape {(B, F, T)}: it must be (B, n_classes) = "
                    f"{(B, n_classes)}. The last layer should have `n_classes` outputs, one row per item"
                )


def logits_of(cls: type[NeuralModel], x: Tensor, n_classes: int, first: bool) -> Tensor:
    """What a fresh network gives for x. PluginError if it fails, gives no tensor, or changes x."""
    B, F, T = x.shape
    model, before = make(cls, (F, T), n_classes).eval().model, x.clone()
    try:
        logits = model(x) if cls.recipe.window else model(x, torch.full((B,), T))
    except PluginError:
        raise
    except Exception as error:
        hint = "x is (batch, feature rows, frames)" if first else "size the layers from input_shape, not by numbers"
        raise PluginError(
            f"{cls.__name__} raised {said(error)}, in {place(error)}, given x of shape {(B, F, T)} and "
            f"n_classes = {n_classes}: {hint}"
        ) from error
    if not isinstance(logits, Tensor):
        raise PluginError(
            f"forward gave a {type(logits).__name__}: return the logits alone, a tensor of shape (B, n_classes)"
        )
    if not torch.equal(x, before):
        raise PluginError(
            "forward changes its input in place: the batch is not the network's own. Write x = x - m instead of "
            "x -= m, and no method that ends with an underscore on x itself"
        )
    return logits


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
    Check("size", states_its_size, "The number of parameters, if it is stated, is right"),
    Check("output_shape", gives_one_row_per_item, "forward gives (B, n_classes)", needed=True),
    Check("logits", gives_logits, "forward ends without a softmax", needed=True),
    Check(
        "finite", learning.is_finite, "Logits, gradients and weights are finite, also on silence and noise", needed=True
    ),
    Check("no_state", prediction.keeps_no_state, "Nothing is kept between two batches", needed=True),
    Check("no_chance", prediction.predicts_without_chance, "Predictions are not random", needed=True),
    Check("gradients", learning.trains_every_parameter, "Gradients reach every parameter"),
    Check("learns", learning.learns_by_heart, "16 items are learnt by heart"),
    Check("alone", prediction.predicts_each_item_alone, "An item is predicted the same alone and in any batch"),
    Check("padding", prediction.ignores_padding, "Frames past the length change nothing"),
    Check("durations", prediction.takes_any_duration, "Utterances of 0.1 s and of 35 s are predicted"),
    Check("search_space", learning.searches_what_it_can_train, "What search_space draws can be trained"),
    Check("repeatable", learning.trains_the_same_again, "The same seed gives the same weights"),
    Check("saves", prediction.saves_and_loads, "The state dict holds everything"),
    Check("bf16", learning.runs_in_bf16, "Training works under bfloat16 autocast"),
)


def checks(cls: type[NeuralModel]) -> tuple[Check, ...]:
    """All checks; those of padding and durations are for models of whole utterances with lengths of their own."""
    recipe = getattr(cls, "recipe", None)
    whole = getattr(recipe, "window", None) is None and not pooled(getattr(recipe, "features", None))
    return tuple(check for check in CHECKS if whole or check.name not in ("padding", "durations"))
