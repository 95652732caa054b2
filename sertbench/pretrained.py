"""Pre-trained checkpoints: where they lie, what may be loaded, and which one it is by its hash.

Nothing pickled is read and no code of a checkpoint is run: weights are safetensors, the architecture is transformers'
own. A checkpoint that is incomplete, or does not fit its configuration, is refused; transformers alone would fill what
is missing with random numbers. Worker processes find a checkpoint by its hash, through a note in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from sertbench import files
from sertbench.config import cache_folder
from sertbench.errors import ConfigError, few
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.pretrained_spec import Pretrained, WaveformSpec

FAMILIES = {
    "wav2vec2": "wav2vec 2.0",
    "hubert": "HuBERT",
    "wavlm": "WavLM",
    "data2vec-audio": "data2vec-audio",
    "wav2vec2-bert": "w2v-BERT",
    "whisper": "Whisper (its encoder)",
}
ON_WAVEFORMS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")  # the others compute a spectrum outside of the network
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
INDEX = "model.safetensors.index.json"
FILES = (CONFIG, PREPROCESSOR, "model.safetensors")
NEEDED = "{}, {} and {}".format(*FILES)
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HASH = re.compile(r"[0-9a-f]{64}")
UNUSED = re.compile(r"masked_spec_embed|^decoder\.|^adapter\.")  # weights that hidden states do not depend on


def versions() -> dict[str, str]:
    """What computes hidden states, and how precisely. ConfigError, with what to type, if it is not installed."""
    try:
        return {name: metadata.version(name) for name in ("transformers", "torch")} | {"precision": "float32"}
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "features of pre-trained checkpoints need transformers, which is not installed. Type: "
            "pip install 'sertbench[ssl]'"
        ) from None


def resolve(features: Pretrained, device: str) -> Pretrained:
    """Fill in a specification from its checkpoint: name, sizes, hash.

    Raises ConfigError for a checkpoint that is not there, incomplete, of an architecture that is not supported, or that
    could only be loaded by running code.
    """
    versions()
    folder, name = find(features.checkpoint)
    settings = configuration(folder, name)
    family, preprocessor = settings.model_type, read_json(folder / PREPROCESSOR)
    sha256 = fingerprint(folder)
    remember(sha256, folder)
    if isinstance(features, WaveformSpec):
        if family not in ON_WAVEFORMS:
            raise ConfigError(
                f"{name} is {FAMILIES[family]}, which cannot be trained from waveforms here: its spectrum is computed "
                f"outside of the network. Fine-tune {', '.join(FAMILIES[f] for f in ON_WAVEFORMS)}, or take its "
                "hidden states with --features ssl:"
            )
        normalise = bool(preprocessor.get("do_normalize", True))
        return replace(features, checkpoint=name, normalise=normalise, family=family, sha256=sha256)
    depth = settings.encoder_layers if family == "whisper" else settings.num_hidden_layers
    made = replace(
        features, checkpoint=name, hidden=settings.hidden_size, depth=depth, family=family, sha256=sha256, device=device
    )
    assert made.chosen, "a layer that is not there is a ConfigError"
    return made


def find(text: str) -> tuple[Path, str]:
    """The folder of a checkpoint and its name: a hub id, or the name of a local folder."""
    local = Path(text).expanduser()
    if local.is_dir():
        return local.resolve(), local.resolve().name
    if not HUB_ID.fullmatch(text):
        raise ConfigError(
            f"checkpoint {text!r}: there is no such folder, and it is no hub id. Give a folder with {NEEDED}, or an id "
            "such as facebook/hubert-base-ls960"
        )
    return fetch(text), text


def fetch(hub_id: str) -> Path:
    """A snapshot in the cache of huggingface_hub; fetched if it is not there and HF_HUB_OFFLINE does not forbid it."""
    from huggingface_hub import snapshot_download

    wanted = [CONFIG, PREPROCESSOR, INDEX, "model*.safetensors"]
    offline = any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
                  for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))  # fmt: skip
    reason = "HF_HUB_OFFLINE is set"
    for local in (True,) if offline else (True, False):
        with quiet():
            try:
                folder = Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=local))
            except Exception as error:  # noqa: BLE001 - requests, httpx and the hub each have errors of their own
                reason = reason if local else f"{type(error).__name__}: {str(error).splitlines()[0]}"
                continue
        if not local or (folder / CONFIG).exists():
            return folder
    raise ConfigError(
        f"checkpoint {hub_id} is not on this machine, and cannot be fetched ({reason}). Where there is a network, type "
        f"`hf download {hub_id} {' '.join(FILES)} --local-dir FOLDER`, copy the folder "
        "here, and give it as the checkpoint, e.g. --features ssl:FOLDER"
    )


def configuration(folder: Path, name: str) -> Any:
    """The configuration of a checkpoint whose files are such as may be loaded."""
    if not (folder / CONFIG).is_file():
        foreign = "emotion2vec" in name.lower() or (folder / "configuration.json").exists()
        other = "; emotion2vec and other FunASR or fairseq checkpoints are not supported" if foreign else ""
        raise ConfigError(f"checkpoint {folder} has no {CONFIG}: it needs {NEEDED}{other}")
    raw = read_json(folder / CONFIG)
    family = raw.get("model_type")
    if family not in FAMILIES:
        known = ", ".join(FAMILIES.values())
        raise ConfigError(f"checkpoint {name} is of type {family!r}, which is not supported. Supported: {known}")
    preprocessor = read_json(folder / PREPROCESSOR)
    if "auto_map" in raw or "auto_map" in preprocessor:
        raise ConfigError(
            f"checkpoint {name} comes with code of its own (auto_map), which sertbench does not run. Take one of "
            "transformers' own architectures"
        )
    if (rate := preprocessor.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise ConfigError(f"checkpoint {name} wants {rate} Hz; sertbench computes at {SAMPLE_RATE} Hz")
    weight_files(folder)
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ConfigError(f"checkpoint {name}: {CONFIG} cannot be used ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. ConfigError if it is missing or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"checkpoint {path.parent} has no {path.name}: it needs {NEEDED}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"checkpoint {path.parent}: {path.name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"checkpoint {path.parent}: {path.name} holds no JSON object")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, whole as far as their headers tell."""
    from safetensors import SafetensorError, safe_open

    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map")
        named = set(shards.values()) if isinstance(shards, dict) else set()
        if not named or not all(isinstance(n, str) and Path(n).name == n for n in named):
            raise ConfigError(f"checkpoint {folder}: {INDEX} does not name files of this folder")
        paths = [folder / name for name in sorted(named)]
    else:
        paths = [folder / "model.safetensors"]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        pickled = sorted(p.name for ext in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(ext))
        if pickled:
            raise ConfigError(
                f"checkpoint {folder} has pickled weights alone ({few(pickled, 3)}): a pickle can run any code when it "
                f"is read, so sertbench takes safetensors only. {conversion(str(folder))}"
            )
        raise ConfigError(
            f"checkpoint {folder} has no {few(missing, 3)}: it needs {NEEDED}. If its publisher has pickled weights "
            f"alone: {conversion('HUB/ID')}"
        )
    for path in paths:
        try:
            with safe_open(path, "pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise ConfigError(
                f"checkpoint {folder}: {path.name} is cut short or damaged ({error}). Fetch it again"
            ) from error
    return paths


def conversion(source: str) -> str:
    """How to make safetensors of pickled weights: transformers reads them with `weights_only`, which runs no code."""
    return (
        "Convert it once, with torch's restricted reader: python -c \"from transformers import AutoModel as m, "
        f"AutoFeatureExtractor as f; d = '{source}'; [x.from_pretrained(d).save_pretrained('safe') for x in (m, f)]\" "
        "and give the folder safe instead"
    )


def fingerprint(folder: Path) -> str:
    """SHA-256 over the configuration, the preprocessor's and the weights."""
    paths = [folder / CONFIG, folder / PREPROCESSOR, *weight_files(folder)]
    parts = [f"{path.name} {files.sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def remember(sha256: str, folder: Path) -> None:
    """Note where a checkpoint lies, for other processes that share the cache."""
    path = cache_folder() / "checkpoints" / f"{sha256}.json"
    files.write_text(path, json.dumps({"folder": str(folder)}), files.CACHE)


def noted(sha256: str) -> Path | None:
    """Where the checkpoint of this hash was seen last, if it was; it may have been moved or changed since."""
    if not HASH.fullmatch(sha256):
        return None
    try:
        return Path(json.loads((cache_folder() / "checkpoints" / f"{sha256}.json").read_text())["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def folder_of(sha256: str) -> Path:
    """Where the checkpoint of this hash lies. ConfigError if it was changed or moved since."""
    folder = noted(sha256)
    with contextlib.suppress(OSError, ConfigError):
        if folder is not None and fingerprint(folder) == sha256:
            return folder
    raise ConfigError(
        f"the checkpoint with the hash {sha256[:12]} was moved or changed while it was needed, or $SERTBENCH_CACHE is "
        "another one here. Type the same command again"
    )


def load_network(folder: Path, **settings: Any) -> Any:
    """The network of a checkpoint in float32, for evaluation; of Whisper the encoder.

    `settings` change its configuration. ConfigError if a weight is missing or has another shape than that says. On the
    device "meta" there are shapes alone, and no weight is read.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    with quiet():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            for name, value in settings.items():
                setattr(config, name, value)
            if torch.get_default_device().type == "meta":
                return AutoModel.from_config(config, trust_remote_code=False)
            network, report = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
                output_loading_info=True, config=config,
            )  # fmt: skip
        except Exception as error:
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError(
                f"checkpoint {folder} cannot be loaded: its weights do not fit {CONFIG} ({said})"
            ) from error
    wrong = [key for key in report["missing_keys"] if not UNUSED.search(key)]
    wrong += [str(found[0]) for found in report["mismatched_keys"]]
    if wrong:
        raise ConfigError(
            f"checkpoint {folder} lacks weights that {CONFIG} asks for, or has them in another shape: {few(wrong, 3)}. "
            "Fetch both files from one place"
        )
    return (network.get_encoder() if network.config.model_type == "whisper" else network).eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and reports of transformers and the hub; sertbench has its own."""
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as shown

    level, bars = shown.get_verbosity(), shown.is_progress_bar_enabled()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    shown.set_verbosity_error()
    shown.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
        shown.set_verbosity(level)
        if bars:
            shown.enable_progress_bar()
