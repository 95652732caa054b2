"""Fitted estimators as arrays and JSON: reading one back runs no code that the file brings along.

A state is a tree of plain values, arrays and objects. An object is written as its class's name and its attributes; on
reading, only classes of `CLASSES` are made, without calling their constructors, and only plain values and arrays are
put into them. What a fitted object keeps for going on with training (`TRAINING_ONLY`) is left out. A file on the disk
is an `.npz` that is read with allow_pickle=False.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from sertbench import files
from sertbench.errors import StorageError
from sertbench.model import Estimator

FILE = "estimator.npz"  # beside a fit's weights
TREE = "tree"  #          the entry of an .npz that holds the JSON, as bytes

# What may be made on reading: classes of scikit-learn that hold what they learnt in attributes.
CLASSES = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.neighbors._classification.KNeighborsClassifier",
        "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.MinMaxScaler",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.svm._classes.LinearSVC",
        "sklearn.svm._classes.SVC",
    }
)
# Losses of boosted trees are compiled: made by their constructors, which need the number of classes at most.
LOSSES = {"HalfMultinomialLoss": ("n_classes",), "HalfBinomialLoss": ()}
TRAINING_ONLY = frozenset({"_optimizer", "_random_state", "_rng", "_label_encoder_rng", "_feature_subsample_rng"})


class NotStorableError(TypeError):
    """An estimator holds something that is neither a plain value, nor an array, nor an object of a known class."""


@dataclass(frozen=True)
class State:
    """A fitted estimator's attributes: a JSON-able tree, and the arrays that it names."""

    tree: dict[str, Any]
    arrays: Mapping[str, np.ndarray]


def state_of(estimator: Estimator) -> State:
    """What a fitted estimator has learnt. Raises NotStorableError, which names the attribute."""
    arrays: dict[str, np.ndarray] = {}
    values = {name: _write(value, arrays, name) for name, value in vars(estimator).items()}
    return State({"scikit-learn": metadata.version("scikit-learn"), "values": values}, arrays)


def restore(estimator: Estimator, state: State) -> Estimator:
    """Put a state into an estimator of the same class. Raises StorageError for a state that cannot be."""
    made, here = str(state.tree.get("scikit-learn", "")), metadata.version("scikit-learn")
    if made.split(".")[:2] != here.split(".")[:2]:
        raise StorageError(
            f"the estimator was fitted with scikit-learn {made}, and here is {here}, which may read it otherwise. "
            f"`pip install scikit-learn=={made}`, or fit it again"
        )
    try:
        vars(estimator).update({str(k): _read(v, state.arrays) for k, v in state.tree["values"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ImportError, RecursionError) as error:
        raise StorageError(f"the stored estimator is damaged or none of sertbench's: {error!r}. Fit it again") from None
    return estimator


def save(path: Path, state: State) -> None:
    """Write a state in one step."""
    files.write(path, lambda draft: write(draft, state))


def write(path: Path, state: State) -> None:
    """Write a state. Raises OSError."""
    tree = np.frombuffer(json.dumps(state.tree).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{TREE: tree, **state.arrays})


def load(path: Path) -> State:
    """Read a state. Raises StorageError if it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        tree = json.loads(arrays.pop(TREE).tobytes())
        if not isinstance(tree, dict):
            raise TypeError("no tree of values")
    except files.UNREADABLE as error:
        raise StorageError(f"{path} holds no fitted estimator ({error})") from error
    return State(tree, arrays)


def _write(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return {"scalar": _array(np.asarray(value), arrays, where)}
    if isinstance(value, np.ndarray):
        return {"array": _array(value, arrays, where)}
    if type(value) in (list, tuple):
        items = [_write(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if type(value) is dict:
        pairs = [[_write(k, arrays, where), _write(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        return {"dict": pairs}
    return _write_object(value, arrays, where)


def _array(value: np.ndarray, arrays: dict[str, np.ndarray], where: str) -> dict[str, Any]:
    """An array goes by as bytes if its type is a record, text or wide unsigned, which not every container can hold.

    What lies column by column in memory does so again once it is read: a product of matrices is rounded by where its
    numbers lie.
    """
    if value.dtype.hasobject:
        raise NotStorableError(f"{where} is an array of Python objects")
    name, plain = f"a{len(arrays)}", value.dtype.kind in "bif" or value.dtype == np.uint8
    columns = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
    array = np.ascontiguousarray(value)
    arrays[name] = array if plain else np.frombuffer(array.tobytes(), np.uint8)
    kind = value.dtype.str if value.dtype.names is None else [list(f) for f in value.dtype.descr]
    return {"name": name, "dtype": kind, "shape": list(value.shape), "order": "F" if columns else "C"}


def _write_object(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__ == "sklearn._loss.loss" and kind.__qualname__ in LOSSES:
        return {"loss": kind.__qualname__, "n_classes": int(value.n_classes)}
    if name not in CLASSES:
        raise NotStorableError(f"{where} is a {name}, which cannot be stored as arrays")
    attributes = {k: v for k, v in vars(value).items() if k not in TRAINING_ONLY}
    return {"class": name, "values": {k: _write(v, arrays, f"{where}.{k}") for k, v in attributes.items()}}


def _read(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_read(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "array" in value:
        return _read_array(value["array"], arrays)
    if "scalar" in value:
        return _read_array(value["scalar"], arrays)[()]
    if "tuple" in value:
        return tuple(_read(item, arrays) for item in value["tuple"])
    if "dict" in value:
        return {_read(k, arrays): _read(v, arrays) for k, v in value["dict"]}
    if "loss" in value:
        takes = LOSSES[value["loss"]]
        loss = getattr(importlib.import_module("sklearn._loss.loss"), value["loss"])
        return loss(**{name: int(value[name]) for name in takes})
    if value["class"] not in CLASSES:
        raise ValueError(f"{value['class']!r} is no class that a stored estimator may hold")
    module, _, name = value["class"].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    made = cls.__new__(cls)
    vars(made).update({str(k): _read(v, arrays) for k, v in value["values"].items()})
    _check_indices(name, made)
    return made


def _check_indices(name: str, made: Any) -> None:
    """ValueError for indices that lead compiled code, which does not check them, out of its arrays."""
    if name == "TreePredictor":
        nodes, own = made.nodes, np.arange(len(made.nodes))
        children = np.stack([nodes["left"], nodes["right"]])[:, nodes["is_leaf"] == 0]
        good = len(nodes) > 0 and (children < len(nodes)).all() and (children > own[nodes["is_leaf"] == 0]).all()
        good = good and not nodes["is_categorical"].any()
    elif name == "HistGradientBoostingClassifier":
        trees = [tree for round_ in made._predictors for tree in round_]
        good = all((tree.nodes["feature_idx"] < made.n_features_in_).all() for tree in trees)
    elif name == "SVC":
        n, k = len(made.support_), len(made.classes_)
        good = (
            made.kernel in ("precomputed", "linear", "rbf") and made._n_support.sum() == n == made.dual_coef_.shape[1]
        )
        good = good and len(made._n_support) == k and made.dual_coef_.shape[0] == made._dual_coef_.shape[0] == k - 1
        good = good and made._dual_coef_.shape[1] == n and made._intercept_.size == k * (k - 1) // 2
        good = good and ((made.support_ >= 0) & (made.support_ < made.shape_fit_[0])).all()
        good = good and (made.kernel == "precomputed" or made.support_vectors_.shape == (n, made.n_features_in_))
    else:
        return
    if not good:
        raise ValueError(f"a {name} whose parts do not fit together")


def _read_array(said: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    kind = said["dtype"]
    dtype = np.dtype(kind) if isinstance(kind, str) else np.dtype([tuple(field) for field in kind])
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    array = np.asarray(arrays[said["name"]])
    if array.dtype != dtype:
        array = np.frombuffer(array.tobytes(), dtype)
    return array.reshape(said["shape"]).copy(order="F" if said.get("order") == "F" else "C")
