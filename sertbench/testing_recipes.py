"""Checks that neural models and estimators share: documentation, recipe, search space."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import optuna

from sertbench.errors import ConfigError, PluginError
from sertbench.feature_spec import (
    COLUMNS,
    FUNCTIONALS,
    KINDS,
    PRETRAINED,
    CombinedSpec,
    FeatureSpec,
    FramedSpec,
    SslSpec,
    UtteranceSpec,
    WaveformSpec,
    pooled,
)
from sertbench.model import Choice, Model, Recipe, hyperparameters
from sertbench.search_space import refuse_settled, refuse_unwritable

# field -> (may it have this value?, what it must be)
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "window": (lambda v: v is None or v > 0, "None (whole utterances) or seconds > 0"),
    "hop": (lambda v: v is None or v > 0, "None or seconds > 0"),
    "learning_rate": (lambda v: 0 < v < 10, "between 0 and 10, both excluded"),
    "weight_decay": (lambda v: v >= 0, ">= 0"),
    "momentum": (lambda v: 0 <= v < 1, "0 <= momentum < 1"),
    "gamma": (lambda v: 0 < v <= 1, "0 < gamma <= 1"),
    "step_size": (lambda v: isinstance(v, int) and v >= 1, "a whole number >= 1"),
    "epochs": (lambda v: isinstance(v, int) and v >= 1, "a whole number >= 1"),
    "patience": (lambda v: isinstance(v, int) and v >= 1, "a whole number >= 1"),
    "batch_size": (lambda v: isinstance(v, int) and v >= 2, "a whole number >= 2 (batch normalisation needs two)"),
    "mixup": (lambda v: v >= 0, ">= 0 (0: no mixup)"),
    "class_weights": (lambda v: isinstance(v, bool), "True or False"),
    "label_smoothing": (lambda v: 0 <= v < 1, "0 <= label_smoothing < 1"),
    "clip_norm": (lambda v: v is None or v > 0, "None or > 0"),
}


def documented(cls: Model) -> None:
    """The docstring's first line says what it is; `paper` says where it is from."""
    lines = (cls.__doc__ or "").strip().splitlines()
    if not lines or cls.__doc__ in {base.__doc__ for base in cls.__mro__[1:]}:
        raise PluginError(
            f"{cls.__name__} has no docstring: its first line is what `sertbench list models` shows, and the rest "
            "should name the paper and what departs from it"
        )
    if len(lines[0]) > 120:
        raise PluginError(f"the first line of {cls.__name__}'s docstring has {len(lines[0])} characters: 120 at most")
    if not cls.paper.strip():
        raise PluginError(
            f'{cls.__name__}.paper is empty: set `paper = "Authors, title, venue year"`, or "unpublished" for your own'
        )


def recipe_faults(recipe: Recipe) -> Iterator[str]:
    """What is wrong with the values of a recipe, in words."""
    for name, hint in get_type_hints(Recipe).items():
        value = getattr(recipe, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            yield f"{name} = {value!r}: must be one of {', '.join(map(repr, get_args(hint)))}"
    for name, (accepted, words) in RANGES.items():
        value = getattr(recipe, name)
        try:
            good = accepted(value)
        except TypeError:
            good = False
        if not good:
            yield f"{name} = {value!r}: must be {words}"
    if (recipe.window is None) != (recipe.hop is None):
        yield f"window = {recipe.window!r} with hop = {recipe.hop!r}: give both in seconds, or neither for whole ones"
    if recipe.features is not None and pooled(recipe.features) and recipe.window is not None:
        yield f"window = {recipe.window!r} with {recipe.features.kind}: it is one row per utterance; leave window out"
    if isinstance(recipe.features, WaveformSpec) and recipe.window is None:
        yield "window = None with waveform: its networks are not independent of padding; give a window and a hop"
    if recipe.features is not None:
        yield from feature_faults(recipe.features)


def feature_faults(spec: object) -> Iterator[str]:
    """What is wrong with a feature specification, in words."""
    if isinstance(spec, UtteranceSpec):
        if spec.kind not in COLUMNS:
            yield f"features.kind = {spec.kind!r}: must be one of {', '.join(map(repr, COLUMNS))}"
        return
    if isinstance(spec, SslSpec):
        try:
            assert spec.chosen
        except ConfigError as error:
            yield f"features.layers = {spec.layers!r}: {error}"
        return
    if isinstance(spec, WaveformSpec):
        return
    if not isinstance(spec, FeatureSpec):
        yield f"features = {spec!r}: make one with sertbench.feature_spec, e.g. log_mel(64)"
        return
    if isinstance(spec, CombinedSpec):
        yield from combination_faults(spec)
        spec = spec.alone
    if spec.kind not in KINDS:
        yield f"features.kind = {spec.kind!r}: must be one of {', '.join(map(repr, KINDS))}"
    if min(spec.n_fft, spec.hop_length, spec.rows) < 1:
        yield f"features = {spec}: n_fft, hop_length and the number of rows must be positive"
    if spec.kind == "mfcc" and spec.n_mfcc > spec.n_mels:
        yield f"features: {spec.n_mfcc} coefficients of {spec.n_mels} mel bands; n_mfcc can be n_mels at most"
    if isinstance(spec, FramedSpec) and not 1 <= spec.frame_length <= spec.n_fft:
        yield f"features.frame_length = {spec.frame_length}: must be 1 to n_fft = {spec.n_fft}"
    if spec.n_bins is not None and spec.n_bins > spec.n_fft // 2 + 1:
        yield f"features.n_bins = {spec.n_bins}: n_fft = {spec.n_fft} gives {spec.n_fft // 2 + 1}"


def combination_faults(spec: CombinedSpec) -> Iterator[str]:
    """What is wrong with derivatives and with the features below."""
    if spec.deltas not in (0, 1, 2):
        yield f"features: {spec.deltas!r} orders of deltas; 1 gives the deltas, 2 the delta-deltas too"
    if not isinstance(spec.delta_width, int) or spec.delta_width < 3 or spec.delta_width % 2 == 0:
        yield f"features: deltas over {spec.delta_width!r} frames; the width must be an odd number >= 3"
    for part in spec.below:
        faults = list(feature_faults(part))
        yield from faults
        if not faults and part.hop_length != spec.hop_length:
            yield (
                f"features: {part.kind} every {part.hop_length} samples below {spec.kind} every {spec.hop_length}; "
                "stacked features must have one hop_length"
            )


def valid_recipe(cls: Model) -> None:
    """`recipe` is a Recipe whose fields have values that can be."""
    recipe = getattr(cls, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise PluginError(f"{cls.__name__}.recipe is {recipe!r}: set `recipe = Recipe(features=log_mel(64), ...)`")
    faults = "; ".join(recipe_faults(recipe))
    if faults:
        raise PluginError(f"{cls.__name__}.recipe: {faults}")
    if unknown := [kind for kind in cls.feature_kinds if kind not in (*FUNCTIONALS, *PRETRAINED)]:
        raise PluginError(
            f"{cls.__name__}.feature_kinds names {', '.join(map(repr, unknown))}: `--features` knows "
            f"{', '.join((*FUNCTIONALS, *PRETRAINED))}"
        )


def valid_constructor(cls: Model) -> None:
    """Own hyperparameters have defaults and no name of a recipe field."""
    recipe_fields = {f.name for f in fields(Recipe)}
    for name, default in hyperparameters(cls).items():
        if default is inspect.Parameter.empty:
            raise PluginError(
                f"{cls.__name__}.__init__ needs `{name}`: give it a default, the value that the paper used. The "
                "harness passes input_shape and n_classes (to an Estimator: n_classes and seed)"
            )
        if name in recipe_fields:
            raise PluginError(f"{cls.__name__}.__init__ takes `{name}`, which is a field of Recipe: rename it")


def draws(cls: Model, count: int) -> Iterator[Choice]:
    """Draw from the search space at random, the same each time, checking what it returns."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    optuna.logging.set_verbosity(level)
    for _ in range(count):
        trial = study.ask()
        choice = cls.search_space(trial)
        check_choice(cls, trial, choice)
        yield choice


def check_choice(cls: Model, trial: optuna.Trial, choice: Choice) -> None:
    """A choice names recipe fields and constructor arguments, within bounds that hold the published value."""
    if not isinstance(choice, dict):
        raise PluginError(f"search_space returned {choice!r}: return a dict of what to change, {{}} for nothing")
    refuse_settled(cls, choice)
    refuse_unwritable(cls, choice)
    recipe_fields, arguments = {f.name for f in fields(Recipe)}, hyperparameters(cls)
    for name in choice:
        if name not in recipe_fields and name not in arguments:
            known = ", ".join([*arguments, "the fields of Recipe"])
            raise PluginError(f"search_space returns {name!r}, which nothing takes. Accepted: {known}")
    recipe, _ = cls.recipe.with_choice(choice)
    faults = "; ".join(recipe_faults(recipe))
    if faults:
        raise PluginError(f"search_space drew a recipe that cannot be: {faults}")
    for name, distribution in trial.distributions.items():
        if name not in choice or choice[name] != trial.params[name]:
            continue  # the plug-in made something else of the draw
        published = getattr(cls.recipe, name) if name in recipe_fields else arguments[name]
        if not contains(distribution, published):
            raise PluginError(
                f"search_space cannot draw the published {name} = {published!r}: {distribution}. Widen it, so that "
                "tuning can only do better than the paper's setting"
            )


def contains(distribution: optuna.distributions.BaseDistribution, value: object) -> bool:
    """Whether a value lies in the range of a distribution."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, (optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution))
    return isinstance(value, (int, float)) and distribution.low <= value <= distribution.high
