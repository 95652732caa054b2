"""What a model plug-in does wrong, said to its author in one sentence instead of a traceback."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sertbench import plugins
from sertbench.errors import ConfigError, PluginError, SertbenchError, TrainingError
from sertbench.identity import model_code_sha256
from sertbench.network import Network, Source
from sertbench.plugin_import import RAISES, said
from sertbench.seeding import own_random_state


@contextmanager
def blaming(spec: str) -> Iterator[None]:
    """Turn whatever a model raises into one sentence with the place in its file."""
    try:
        yield
    except SertbenchError:
        raise
    except RAISES as error:
        file = inspect.getfile(plugins.load_model(spec).cls)
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f"{f.filename}, line {f.lineno}: " for f in reversed(frames) if f.filename == file), "")
        raise TrainingError(
            f"model {spec} failed: {place}{said(error)}. `sertbench check {spec}` tells more"
        ) from error


def refuse_wrong_shape(network: Network, source: Source, items: np.ndarray, n_classes: int) -> None:
    """PluginError unless two items give two rows of logits; leaves weights and random numbers as they were."""
    device = next(network.parameters()).device
    with own_random_state(device.type), torch.inference_mode():
        x, lengths = source.batch(items[:2])
        network.eval()
        shape = tuple(network(network.normaliser(x.to(device), lengths.to(device)), lengths.to(device)).shape)
    if shape != (len(x), n_classes):
        raise PluginError(
            f"{type(network.model).__name__}.forward gives the shape {shape} for x of shape {tuple(x.shape)}; "
            f"expected one row of logits per item: ({len(x)}, {n_classes}) for {n_classes} classes"
        )


def refuse_no_probabilities(spec: str, given: np.ndarray, n: int, n_classes: int) -> None:
    """TrainingError unless a model's answer is class probabilities, (n, n_classes).

    Without this a row of NaN would be scored as the first class: that is where argmax finds it.
    """
    wrong = f"an answer of shape {given.shape}"
    if given.shape == (n, n_classes):
        sums = given.sum(axis=1, dtype=np.float64)
        good = np.isfinite(given).all(axis=1) & (given >= 0).all(axis=1) & (np.abs(sums - 1) <= 1e-3)
        if good.all():
            return
        wrong = f"{int((~good).sum())} of {n} answers are no probabilities, first {given[~good][0]}"
    raise TrainingError(
        f"model {spec}: {wrong}; expected {n_classes} finite numbers >= 0 that sum to 1 for each of {n} utterances. "
        f"`sertbench check {spec}` tells more"
    )


def refuse_edited(spec: str, code: str) -> None:
    """ConfigError when a model's code is no longer the one that the run was planned with: its row would be of two."""
    try:
        now = model_code_sha256(plugins.load_model(spec).cls)
    except (PluginError, SyntaxError):  # as it is for a moment while somebody types
        now = ""
    if now != code:
        raise ConfigError(
            f"{spec} was edited while it was run, or a file that it imports: the row would be of two models. "
            "Finished fits are kept. Type the same command again; what is worked on is best run from a copy"
        )
