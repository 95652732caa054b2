"""A model's search space: what it makes of a trial, and which of its published values it can name."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import optuna

from sertbench.errors import PluginError, few
from sertbench.model import Choice, Model, hyperparameters
from sertbench.plugin_import import RAISES, said

SETTLED = {  # fields of a recipe that hold for the whole run, and why no trial can have its own
    **dict.fromkeys(("features", "window", "hop"), "features are cut and computed once per run, for all trials"),
    "epochs": "every trial has the same budget, the recipe's or that of --epochs, and stops early by `patience`",
}


def draw(cls: Model, trial: optuna.trial.BaseTrial) -> Choice:
    """What the search space makes of a trial. PluginError for whatever goes wrong in it."""
    try:
        choice = cls.search_space(trial)
    except RAISES as error:
        raise PluginError(f"{cls.__name__}.search_space fails: {said(error)}") from error
    if not isinstance(choice, dict):
        raise PluginError(f"{cls.__name__}.search_space gives {choice!r}: return a dict, {{}} for nothing to tune")
    refuse_settled(cls, choice)
    refuse_unwritable(cls, choice)
    return choice


def refuse_settled(cls: Model, choice: Choice) -> None:
    """PluginError for a choice that names what a run settles for all its trials."""
    for name in choice:
        if name in SETTLED:
            raise PluginError(
                f"{cls.__name__}.search_space names {name!r}, which cannot be tuned: {SETTLED[name]}. Leave it out, "
                "and compare recipes that differ in it as models of their own"
            )


def refuse_unwritable(cls: Model, choice: Choice) -> None:
    """PluginError for a choice that run.json would give back as another one: whatever predicts later reads it there."""
    for name, value in choice.items():
        try:
            same = json.loads(json.dumps(value)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise PluginError(
                f"{cls.__name__}.search_space gives {name} = {value!r} ({type(value).__name__}), which a run cannot "
                "note down. Give numbers, strings, True, False, None or lists of them, and make the rest in __init__"
            )


def published(cls: Model) -> Choice:
    """The published value of everything that a search space could name: recipe fields and constructor defaults.

    Trial 0 is made of these. PluginError for one that a categorical range of the search space lacks: it could not be.
    """
    values = {f.name: getattr(cls.recipe, f.name) for f in fields(cls.recipe)}
    values |= {k: v for k, v in hyperparameters(cls).items() if v is not inspect.Parameter.empty}
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    choice = draw(cls, trial)
    reachable: Choice = {}
    for name, value in values.items():
        range_ = trial.distributions.get(name)
        if isinstance(range_, optuna.distributions.CategoricalDistribution):
            if value in range_.choices:
                reachable[name] = value
            elif choice.get(name) == trial.params[name]:  # else the plug-in makes something else of the draw
                raise PluginError(
                    f"{cls.__name__}: the search space cannot draw the published {name} = {value!r}, only "
                    f"{few(map(repr, range_.choices))}. Add it to suggest_categorical({name!r}, ...), so that tuning "
                    "starts from the paper's setting; or run the recipe as it is with --trials 0"
                )
        elif isinstance(value, (bool, int, float)) or (range_ is None and isinstance(value, str)):
            reachable[name] = value
    return reachable
