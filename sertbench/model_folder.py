"""An exported model's folder, read with suspicion: it may come from anywhere.

    config.json            what the model is (see `model_config`), with the hash of each weights file
    model.safetensors      its weights and normaliser; or one file for each fit
    audio.json             hashes of the recordings of its corpus, with their roles
    model.onnx, README.md  for others

Nothing in it is executed. The architecture is a plug-in that is installed here, or a file that the user names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sertbench import model_config, needed_checkpoint, plugins
from sertbench.bundle import is_file_name
from sertbench.errors import BundleError, ConfigError, PluginError, unknown
from sertbench.estimator_state import State
from sertbench.model import Estimator, Model, NeuralModel, hyperparameters
from sertbench.model_config import MemberConfig, ModelConfig
from sertbench.trained import Member, Roles, Trained, input_shape, refuse_deaf

CONFIG, AUDIO = "config.json", "audio.json"
MOST_BYTES = 50_000_000  # of a JSON file


def holds(folder: Path) -> bool:
    """Whether a folder holds an exported model, and no run."""
    return (folder / CONFIG).is_file() and not (folder / "run.json").exists()


def read(
    folder: Path,
    fold: str | None = None,
    seed: int | None = None,
    model: str | None = None,
    checkpoint: str | None = None,
) -> Trained:
    """An exported model; with `fold` and `seed`, some of its fits. `model` is the Python file of its architecture.

    `checkpoint` is the folder or hub id of the pre-trained checkpoint that it needs, if it is not where it was seen
    last. Raises BundleError for a folder that is damaged, or holds what it must not, and ConfigError for a checkpoint
    that is not at hand.
    """
    config = model_config.read(load_json(folder / CONFIG), str(folder / CONFIG))
    loaded = plugins.load_model(plugin_of(folder, config, model))
    if issubclass(loaded.cls, Estimator) != (config.kind == "estimator"):
        raise BundleError(f"{folder / CONFIG}: {config.name} is no {config.kind} here. Its weights fit another model")
    chosen = [m for m in config.members if fold in (None, m.fold) and seed in (None, m.seed)]
    if not chosen:
        there = ", ".join(f"fold {m.fold} seed {m.seed}" for m in config.members)
        raise ConfigError(f"{folder} has no fit of fold {fold}, seed {seed}. It has: {there}")
    found = {
        features: needed_checkpoint.located(features, str(folder), asked=checkpoint)
        for features in {m.recipe.features for m in chosen}
    }
    chosen = [replace(m, recipe=replace(m.recipe, features=found[m.recipe.features])) for m in chosen]
    members = tuple(read_member(folder, m, loaded.cls, len(config.classes)) for m in chosen)
    refuse_deaf(config.name, loaded.cls, members[0].recipe)
    return Trained(
        config.name, loaded.spec, loaded.cls, loaded.source_sha256, config.classes, config.channel, members,
        config.source, read_audio(folder / AUDIO), loaded.source_sha256 != config.source_sha256,
    )  # fmt: skip


def plugin_of(folder: Path, config: ModelConfig, model: str | None) -> str:
    """Which plug-in to load: what the user says, or a name among those that are installed; never a path."""
    if model is not None:
        return model
    if config.plugin in plugins.names("models"):
        return str(config.plugin)
    if config.plugin is None:
        raise ConfigError(f"{folder} holds a model of its author's own. Give its Python file: --model path/to/file.py")
    raise PluginError(
        f"{folder / CONFIG}: {unknown('model', config.plugin, plugins.names('models'))}. Update sertbench, install the "
        "package that brings it, or give its Python file: --model path/to/file.py"
    )


def load_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. BundleError if it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {error}. Export the model again") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is damaged: expected a JSON object. Export the model again")
    return content


def read_member(folder: Path, config: MemberConfig, cls: Model, n_classes: int) -> Member:
    """One fit of the folder."""
    if unknown_names := sorted(set(config.arguments) - set(hyperparameters(cls))):
        raise BundleError(f"{folder / CONFIG}: {cls.__name__} takes no argument called {', '.join(unknown_names)}")
    tensors = load_weights(folder, config)
    if issubclass(cls, Estimator):
        arrays: dict[str, np.ndarray] = {name: value.numpy() for name, value in tensors.items()}
        state = State(dict(config.estimator or {}), arrays)
        return Member(config.fold, config.seed, config.val_uar, config.recipe, config.arguments, {}, state)
    refuse_other_shapes(folder / config.weights, cls, config, tensors, n_classes)
    return Member(config.fold, config.seed, config.val_uar, config.recipe, config.arguments, tensors)


def load_weights(folder: Path, config: MemberConfig) -> dict[str, Tensor]:
    """The tensors of a weights file. BundleError for any that is not the file that was exported."""
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise ConfigError("exported models need safetensors: `pip install 'sertbench[export]'`") from error
    path = folder / config.weights
    if not is_file_name(config.weights) or path.suffix != ".safetensors":
        raise BundleError(
            f"{folder / CONFIG} names the weights {config.weights!r}: expected NAME.safetensors beside it"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}. Export the model again") from error
    if hashlib.sha256(content).hexdigest() != config.sha256:
        raise BundleError(f"{path} was altered or cut short: its hash is not the one in {CONFIG}. Get it again")
    try:
        tensors: dict[str, Tensor] = load(content)
    except Exception as error:
        raise BundleError(f"{path} is not in the safetensors format ({error}). Export the model again") from error
    return tensors


def refuse_other_shapes(
    path: Path, cls: type[NeuralModel], config: MemberConfig, tensors: Mapping[str, Tensor], n_classes: int
) -> None:
    """BundleError unless the weights are those of the architecture; looked at before memory is taken for it."""
    try:
        with torch.device("meta"):
            network = cls(input_shape(config.recipe), n_classes, **config.arguments)
            wanted = {f"model.{name}": tuple(value.shape) for name, value in network.state_dict().items()}
    except Exception as error:
        raise BundleError(f"{path.parent / CONFIG}: {cls.__name__} cannot be made like that: {error}") from error
    rows = (input_shape(config.recipe)[0], 1)
    moments = {"normaliser.mean": rows, "normaliser.std": rows}
    wanted |= moments if config.recipe.normalise == "train" else {}
    there = {name: tuple(value.shape) for name, value in tensors.items()}
    if wrong := sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name)):
        name = wrong[0]
        raise BundleError(
            f"{path}: {len(wrong)} tensors are not those of {cls.__name__}: {name} is "
            f"{there.get(name, 'missing')}, expected {wanted.get(name, 'none')}. It is another model's file, or "
            "the model's code was changed since"
        )


def read_audio(path: Path) -> dict[str, Roles] | None:
    """The roles of the corpus's recordings; None for a folder without them."""
    if not path.exists():
        return None
    content = load_json(path)
    if not all(isinstance(r, dict) and all(isinstance(v, str) for v in r.values()) for r in content.values()):
        raise BundleError(f"{path} is damaged: expected roles by fold for each hash. Export the model again")
    return content
