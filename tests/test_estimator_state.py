"""Fitted estimators on the disk: the same predictions, no pickled code, and nothing hostile gets through."""

from __future__ import annotations

import json
import pickle
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from sertbench import estimator_state, plugins
from sertbench.errors import StorageError
from sertbench.estimator_state import State
from sertbench.model import Estimator, Examples


def examples(n: int, n_classes: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_classes, n)
    values = rng.normal(size=(n, 214)).astype(np.float32)
    values[:, :n_classes] += 2 * np.eye(n_classes, dtype=np.float32)[targets]
    return Examples((None,) * n, rng.uniform(1, 3, n), values, targets)  # type: ignore[arg-type]


def fitted(name: str, n_classes: int = 3) -> Estimator:
    estimator = plugins.load_model(name).cls(n_classes, 0)
    estimator.step = 2  # no grid: quick
    estimator.fit(examples(60, n_classes, 0), examples(20, n_classes, 1))
    return estimator


@pytest.mark.parametrize("n_classes", [2, 7])
@pytest.mark.parametrize("name", ["svm", "logreg", "mlp", "gbdt", "majority"])
def test_a_stored_estimator_predicts_the_same_bit_for_bit(tmp_path: Path, name: str, n_classes: int) -> None:
    estimator, val = fitted(name, n_classes), examples(20, n_classes, 1)
    estimator_state.save(tmp_path / "e.npz", estimator_state.state_of(estimator))
    again = plugins.load_model(name).cls(n_classes, 0)
    estimator_state.restore(again, estimator_state.load(tmp_path / "e.npz"))
    for n in (1, 2, 20):  # a product with one row is worked out in another way than one with many
        part = Examples(val.utterances[:n], val.seconds[:n], val.functionals[:n], None)
        np.testing.assert_array_equal(again.predict_proba(part), estimator.predict_proba(part))


def test_the_file_is_arrays_without_pickled_objects(tmp_path: Path) -> None:
    estimator_state.save(tmp_path / "e.npz", estimator_state.state_of(fitted("gbdt")))
    with np.load(tmp_path / "e.npz", allow_pickle=False) as kept:
        assert all(not kept[name].dtype.hasobject for name in kept.files)


def test_what_cannot_be_stored_is_named() -> None:
    estimator = plugins.load_model("duration").cls(2, 0)
    estimator.fit(examples(60, 2, 0), examples(20, 2, 1))
    with pytest.raises(estimator_state.NotStorableError, match=r"forest is a sklearn\..*RandomForestClassifier"):
        estimator_state.state_of(estimator)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code of the file was executed",))


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(StorageError, match="no fitted estimator"):
        estimator_state.load(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", tree=np.array([Bomb()], dtype=object))
    with pytest.raises(StorageError, match="no fitted estimator"):
        estimator_state.load(tmp_path / "f.npz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    estimator_state.save(path, estimator_state.state_of(fitted("logreg")))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StorageError, match="no fitted estimator"):
        estimator_state.load(path)


def test_whichever_bit_is_flipped_it_is_refused_or_the_same(tmp_path: Path) -> None:
    """Some damage looks to the reader of .npz like another compression, or an encryption."""
    path, estimator = tmp_path / "e.npz", fitted("majority")
    estimator_state.save(path, estimator_state.state_of(estimator))
    whole, refused = path.read_bytes(), 0
    val = examples(20, 3, 1)
    for i in range(0, len(whole), 2):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        try:
            again = estimator_state.restore(plugins.load_model("majority").cls(3, 0), estimator_state.load(path))
        except StorageError:
            refused += 1
        else:
            np.testing.assert_array_equal(again.predict_proba(val), estimator.predict_proba(val))
    assert refused > len(whole) / 6


def test_a_table_of_columns_stays_one(tmp_path: Path) -> None:
    """A product of matrices is rounded by where the numbers lie: one clip would get other probabilities."""
    estimator = fitted("majority")
    estimator.table = np.asfortranarray(np.arange(6.0).reshape(2, 3))  # type: ignore[attr-defined]
    estimator_state.save(tmp_path / "e.npz", estimator_state.state_of(estimator))
    again = plugins.load_model("majority").cls(3, 0)
    found = estimator_state.restore(again, estimator_state.load(tmp_path / "e.npz")).table  # type: ignore[attr-defined]
    assert found.flags.f_contiguous
    assert not found.flags.c_contiguous
    np.testing.assert_array_equal(found, estimator.table)  # type: ignore[attr-defined]


def tampered(name: str, change: object) -> State:
    """The state of an estimator after `change(tree as text, arrays)`, which gives the new text."""
    state = estimator_state.state_of(fitted(name))
    arrays = dict(state.arrays)
    text = change(json.dumps(state.tree), arrays)  # type: ignore[operator]
    return State(json.loads(text), arrays)


@pytest.mark.parametrize("to", ["subprocess.Popen", "os.system", "sklearn.svm._classes.NuSVC", "builtins.eval"])
def test_only_known_classes_are_made(to: str) -> None:
    state = tampered("svm", lambda text, _: text.replace("sklearn.svm._classes.SVC", to))
    with pytest.raises(StorageError, match="damaged or none of sertbench's"):
        estimator_state.restore(plugins.load_model("svm").cls(3, 0), state)


def test_another_version_of_the_library_is_refused() -> None:
    state = estimator_state.state_of(fitted("majority"))
    with pytest.raises(StorageError, match=r"scikit-learn 0\.1\.2, and here is .*pip install scikit-learn==0\.1\.2"):
        estimator_state.restore(
            plugins.load_model("majority").cls(3, 0), State({**state.tree, "scikit-learn": "0.1.2"}, state.arrays)
        )


def test_indices_that_lead_out_of_the_arrays_are_refused() -> None:
    def far(text: str, arrays: dict[str, np.ndarray]) -> str:
        tree = json.loads(text)
        svc = dict(tree["values"]["svc"]["values"])
        name = svc["support_"]["array"]["name"]
        arrays[name] = arrays[name] + 10_000_000
        return text

    with pytest.raises(StorageError, match="parts do not fit together"):
        estimator_state.restore(plugins.load_model("svm").cls(3, 0), tampered("svm", far))


def test_a_tree_that_leads_into_itself_is_refused() -> None:
    def loop(text: str, arrays: dict[str, np.ndarray]) -> str:
        estimator = fitted("gbdt")
        dtype = estimator.trees._predictors[0][0].nodes.dtype  # type: ignore[attr-defined]
        for name, array in arrays.items():
            if array.dtype == np.uint8 and array.size >= 3 * dtype.itemsize and array.size % dtype.itemsize == 0:
                nodes = np.frombuffer(array.tobytes(), dtype).copy()
                nodes["left"] = 0
                arrays[name] = np.frombuffer(nodes.tobytes(), np.uint8)
        return text

    with pytest.raises(StorageError, match="parts do not fit together"):
        estimator_state.restore(plugins.load_model("gbdt").cls(3, 0), tampered("gbdt", loop))


@pytest.mark.parametrize("tree", [{}, {"values": 3}, {"values": {"a": {"array": {}}}}, {"values": {"a": {"b": 1}}}])
def test_a_tree_of_something_else_is_refused(tree: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="damaged or none"):
        estimator_state.restore(
            plugins.load_model("majority").cls(3, 0),
            State({"scikit-learn": metadata.version("scikit-learn"), **tree}, {}),
        )
