"""Networks as ONNX: every built-in one is exported and equal to torch, or refused in words that name the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sertbench import onnx_export, plugins
from sertbench.feature_spec import mfcc
from sertbench.model import NeuralModel, Recipe
from sertbench.network import Network, Normaliser
from sertbench.sequence_layers import MaskedBatchNorm
from sertbench.trained import input_shape

NETWORKS = {
    name: cls for name in plugins.names("models") if issubclass(cls := plugins.load_model(name).cls, NeuralModel)
}
REFUSED = {"dual_lstm": "its operator Concat (/network/model/dual.1/Concat)"}  # its cell is a loop of Python's


def network_of(cls: Any, recipe: Recipe, **arguments: Any) -> Network:
    """A network with random weights, running means and a normaliser that change what they are given."""
    torch.manual_seed(0)
    shape = input_shape(recipe)
    moments: tuple[Any, Any] = (None, None)
    if recipe.normalise == "train":
        moments = torch.randn(shape[0], 1) * 5 - 20, torch.rand(shape[0], 1) * 5 + 1
    model = cls(shape, 4, **arguments)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d) and module.running_mean is not None:
            module.running_mean.normal_()
            module.bias.data.normal_()
    return Network(model, Normaliser(*moments), recipe.window is None).eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_exported_and_equal_or_refused_by_its_operator(name: str, tmp_path: Path) -> None:
    """Exporting compares the file's logits with torch's, for other batches and lengths than those it was made with."""
    pytest.importorskip("onnxruntime")
    cls = NETWORKS[name]
    written, reason = onnx_export.export(network_of(cls, cls.recipe), input_shape(cls.recipe), tmp_path / "m.onnx")

    if name in REFUSED:
        assert reason.startswith(REFUSED[name])
        assert not (tmp_path / "m.onnx").exists()
    else:
        assert reason == ""
        assert written.startswith("any batch")
        assert (tmp_path / "m.onnx").stat().st_size > 1000


def test_what_is_exported_in_place_of_masked_norms_gives_the_same() -> None:
    recipe = Recipe(features=mfcc(12))
    network = network_of(NETWORKS["tdnn"], recipe, channels=16, joined=24, embedding=8)
    other = onnx_export.exportable(network)
    masked = [m for m in network.modules() if isinstance(m, MaskedBatchNorm)]
    assert len([m for m in other.modules() if isinstance(m, onnx_export.AllSteps)]) == len(masked) > 0
    x, lengths = onnx_export.inputs(network, 3, 12, 40)
    with torch.no_grad():
        torch.testing.assert_close(other(x, lengths), network(x, lengths))
        assert not torch.equal(network(x, lengths), network(x, torch.full((3,), 40)))


def test_a_network_without_them_is_exported_as_it_is() -> None:
    network = network_of(NETWORKS["cnn"], NETWORKS["cnn"].recipe)
    assert onnx_export.exportable(network) is network


def test_reasons_name_the_operator_or_the_exporters_words() -> None:
    error = RuntimeError("Non-zero status code returned while running Concat node. Name:'/network/x/Concat' Status")
    assert onnx_export.reason_of(error) == (
        "its operator Concat (/network/x/Concat) does not run with another batch or number of frames"
    )
    assert onnx_export.reason_of(ValueError("no\nidea")) == "torch's exporter fails (ValueError: no)"
