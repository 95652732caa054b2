"""`config.json` of an exported model: strictly read. An unknown key or a value of another kind is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sertbench import feature_spec
from sertbench.audio import CHANNELS
from sertbench.errors import BundleError
from sertbench.feature_spec import Features
from sertbench.model import Choice, Recipe

FORMAT, VERSION = "sertbench-model", 1
LARGEST = 1_000_000  # of any number in it

# The kinds of feature specifications, by the names of their classes.
SPECS = {name: cls for name, cls in vars(feature_spec).items() if is_dataclass(cls) and isinstance(cls, type)}


@dataclass(frozen=True)
class MemberConfig:
    """One fit: its weights file, what it was, and how its input is made."""

    weights: str  #             a file beside config.json
    sha256: str  #              of that file
    fold: str
    seed: int
    val_uar: float  #           0 to 1, on the fold's validation part
    recipe: Recipe  #           features, window and hop in seconds, normaliser, average over windows
    arguments: Choice  #        of the constructor
    input_shape: list[int]  #   feature rows and frames; 0 frames: any number
    estimator: dict[str, Any] | None = None  # what the arrays of an estimator are (see `estimator_state`)


@dataclass(frozen=True)
class CheckpointConfig:
    """The pre-trained checkpoint that a model needs, and that is not in the folder: it is found by its hash."""

    name: str  #     hub id, or the name of the folder that it lay in
    sha256: str  #   of its configuration, its preprocessor's and its weights
    family: str
    in_this_folder: Literal[False] = False


@dataclass(frozen=True)
class ModelConfig:
    """The whole file."""

    format: str
    version: int
    kind: Literal["network", "estimator"]
    name: str
    plugin: str | None  #       the plug-in's name; None: a file of its author's
    class_name: str
    source_sha256: str
    classes: tuple[str, ...]
    sample_rate: int
    channel: str  #             what to do with several channels
    source: str  #              the run, in words
    members: tuple[MemberConfig, ...]
    run: dict[str, Any]  #      corpus, protocol, figures: for readers
    versions: dict[str, Any]  # for readers
    needs_checkpoint: CheckpointConfig | None = None  # for readers: the recipe's features name it too


def to_json(config: ModelConfig) -> dict[str, Any]:
    """The file's content."""
    content = asdict(config)
    for made, member in zip(content["members"], config.members, strict=True):
        made["recipe"]["features"] = written(member.recipe.features)
    return content


def written(spec: Any) -> dict[str, Any] | None:
    """A specification of features with its class's name."""
    if spec is None:
        return None
    values = {f.name: getattr(spec, f.name) for f in fields(spec)}
    return {
        "class": type(spec).__name__,
        **{k: [written(part) for part in v] if isinstance(v, tuple) else v for k, v in values.items()},
    }


def read(content: Mapping[str, Any], where: str) -> ModelConfig:
    """The file's content, checked. Raises BundleError, which names the key."""
    if content.get("format") != FORMAT:
        raise BundleError(f"{where} is not of an exported sertbench model: its `format` is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise BundleError(
            f"{where} has version {content.get('version')!r}, and this sertbench reads version {VERSION}. "
            "Update with `pip install -U sertbench`"
        )
    config: ModelConfig = read_as(ModelConfig, content, where)
    if len(config.classes) < 2 or len(set(config.classes)) < len(config.classes):
        raise BundleError(f"{where}: `classes` must be two names or more, each once")
    if not config.members:
        raise BundleError(f"{where}: `members` is empty: there is no fit in it")
    if config.sample_rate != feature_spec.SAMPLE_RATE or config.channel not in CHANNELS:
        raise BundleError(f"{where}: expected a sample_rate of {feature_spec.SAMPLE_RATE} and a channel of {CHANNELS}")
    return config


def read_as(cls: type[Any], values: Any, where: str) -> Any:
    """A dataclass from JSON, all of whose keys are known and whose values are of the right kinds."""
    if not isinstance(values, Mapping):
        raise BundleError(f"{where}: expected an object, found {values!r:.80}")
    known = {f.name: f for f in fields(cls)}
    if strange := sorted(set(values) - set(known)):
        raise BundleError(f"{where} has the unknown key {strange[0]!r:.80}. Known: {', '.join(known)}")
    lacking = [n for n, f in known.items() if n not in values and f.default is MISSING and f.default_factory is MISSING]
    if lacking:
        raise BundleError(f"{where} lacks the key {lacking[0]!r}")
    hints = get_type_hints(cls)
    return cls(**{name: read_value(hints[name], value, f"{where}, {name}") for name, value in values.items()})


def read_value(hint: Any, value: Any, where: str) -> Any:
    """One value of a kind. BundleError for another kind."""
    if hint in (Features, Features | None):
        return None if value is None else read_spec(value, where)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value in parts:
            return value
    elif origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        return read_value(next(p for p in parts if p is not NoneType), value, where)
    elif origin is tuple and isinstance(value, list):
        item = parts[0]
        if isinstance(item, type) and item.__name__ in SPECS:
            return tuple(read_spec(v, f"{where}[{i}]") for i, v in enumerate(value))
        return tuple(read_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    elif origin is list and isinstance(value, list):
        return [read_value(parts[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    elif origin is dict and isinstance(value, dict):
        return value
    elif is_dataclass(hint) and isinstance(hint, type):
        return read_as(hint, value, where)
    elif hint is float and type(value) in (int, float) and math.isfinite(value) and abs(value) <= LARGEST:
        return float(value)
    elif hint in (int, str, bool) and type(value) is hint and (hint is not int or abs(value) <= LARGEST):
        return value
    raise BundleError(f"{where} is {value!r:.80}, which is not accepted there")


def read_spec(values: Any, where: str) -> Any:
    """A specification of features."""
    if not isinstance(values, Mapping) or values.get("class") not in SPECS:
        raise BundleError(f"{where}: expected features with a `class` of {', '.join(sorted(SPECS))}")
    return read_as(SPECS[values["class"]], {k: v for k, v in values.items() if k != "class"}, where)
