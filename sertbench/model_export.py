"""A run's trained models as a folder that stands on its own: weights, configuration, model card, ONNX."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sertbench import bundle, files, model_card, model_config, model_folder, onnx_export, plugins
from sertbench.errors import ConfigError, SertbenchError, StorageError
from sertbench.feature_spec import SAMPLE_RATE, Features
from sertbench.model_config import FORMAT, VERSION, CheckpointConfig, MemberConfig, ModelConfig
from sertbench.pretrained_spec import Pretrained
from sertbench.trained import Member, Trained, best_on_validation, from_run, input_shape, network_of

VERSIONS = ("sertbench", "python", "torch", "scikit-learn", "soundfile", "soxr")


@dataclass(frozen=True)
class Exported:
    """What was written, and what was not, in words."""

    folder: Path
    trained: Trained
    onnx: str  #    what the ONNX file is; empty: there is none
    no_onnx: str  # why there is none
    needs: CheckpointConfig | None  # what is not in the folder


def export(
    run_folder: Path,
    folder: Path,
    fold: str | None = None,
    seed: int | None = None,
    checkpoint: str | None = None,
    *,
    everything: bool = False,
) -> Exported:
    """Write a new folder. Without `fold`, `seed` and `everything`: the fit that is best on its validation part.

    `checkpoint` is as in `trained.from_run`. Raises ConfigError if the folder is not empty, and BundleError for a run
    whose fits are not at hand.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not empty, and is not overwritten: choose another name")
    refuse_without_safetensors()
    trained = from_run(run_folder, fold, seed, checkpoint)
    if not everything and len(trained.members) > 1:
        trained = replace(trained, members=(best_on_validation(trained),))
    run = bundle.load_run(run_folder)
    draft = files.draft_of(folder.absolute())
    try:
        draft.mkdir(parents=True)
        made = fill(draft, trained, run)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}. Choose another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return replace(made, folder=folder)


def refuse_without_safetensors() -> None:
    """ConfigError if the optional packages of exports are not installed."""
    try:
        import safetensors.torch  # noqa: F401
    except ImportError as error:
        raise ConfigError("exporting needs safetensors: `pip install 'sertbench[export]'`") from error


def fill(draft: Path, trained: Trained, run: Mapping[str, Any]) -> Exported:
    """Write all files of an export into an empty folder."""
    single = len(trained.members) == 1
    members = []
    for member in trained.members:
        name = "model.safetensors" if single else f"fold-{safe(member.fold)}-seed-{member.seed}.safetensors"
        members.append(save_member(draft / name, member))
    config = configured(trained, run, tuple(members))
    files.write_text(draft / model_folder.CONFIG, as_text(model_config.to_json(config)))
    if trained.audio is not None:
        kept = {sha: {f: r for f, r in roles.items() if f in trained.folds} for sha, roles in trained.audio.items()}
        files.write_text(draft / model_folder.AUDIO, json.dumps(kept) + "\n")
    onnx, reason = "", "an ensemble is several networks: export one fit, with --fold and --seed"
    if not trained.is_network:
        reason = f"{trained.name} is an estimator of scikit-learn, not a network"
    elif single:
        member = trained.members[0]
        network = network_of(trained, member, "cpu")
        onnx, reason = onnx_export.export(network, input_shape(member.recipe), draft / "model.onnx")
    files.write_text(draft / "README.md", model_card.markdown(config, run, corpus_of(run), onnx, reason))
    return Exported(draft, trained, onnx, reason, config.needs_checkpoint)


def safe(text: str) -> str:
    """A fold's name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def as_text(content: Mapping[str, Any]) -> str:
    """JSON as it stands in the folder."""
    return json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"


def save_member(path: Path, member: Member) -> MemberConfig:
    """Write the weights of one fit, or its estimator's arrays, and say what they are."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = dict(member.weights)
    if member.state is not None:
        tensors = {name: torch.from_numpy(array.copy()) for name, array in member.state.arrays.items()}
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    files.write(path, lambda draft: draft.write_bytes(content))
    return MemberConfig(
        path.name, hashlib.sha256(content).hexdigest(), member.fold, member.seed, member.val_uar, member.recipe,
        member.arguments, list(input_shape(member.recipe)), member.state.tree if member.state else None,
    )  # fmt: skip


def configured(trained: Trained, run: Mapping[str, Any], members: tuple[MemberConfig, ...]) -> ModelConfig:
    """What the model is."""
    corpus, protocol = run["corpus"], run["protocol"]
    about = {
        "row_id": run["row_id"],
        "date_utc": run["date_utc"],
        "corpus": corpus["name"],
        "label_set": corpus["label_set"],
        "subset": corpus["subset"],
        "licence": corpus["licence"],
        "manifest_sha256": corpus["manifest_sha256"],
        "protocol": protocol["name"],
        "protocol_sha256": protocol["sha256"],
        "paper": run["model"]["paper"],
        "figures": run["figures"],
    }
    versions = {name: run["environment"][name] for name in VERSIONS if name in run["environment"]}
    versions |= run.get("features", {}).get("versions", {})
    local = plugins.find("models", trained.spec).local
    return ModelConfig(
        FORMAT, VERSION, "network" if trained.is_network else "estimator", trained.name,
        None if local else trained.spec, trained.cls.__name__, trained.source_sha256, trained.classes, SAMPLE_RATE,
        trained.channel, trained.source, members, about, versions, needed(members[0].recipe.features),
    )  # fmt: skip


def needed(features: Features | None) -> CheckpointConfig | None:
    """The checkpoint that is not in the folder, if the features are of one."""
    if not isinstance(features, Pretrained):
        return None
    return CheckpointConfig(features.checkpoint, features.sha256, features.family)


def corpus_of(run: Mapping[str, Any]) -> dict[str, str]:
    """What the adapter says of the corpus, as far as it is at hand: language and citation."""
    try:
        corpus = plugins.load_corpus(run["config"]["dataset"]).corpus
    except SertbenchError:
        return {"language": "", "citation": ""}
    return {"language": corpus.language, "citation": corpus.citation}
