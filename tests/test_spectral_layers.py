"""Convolution by products of transforms against the direct convolution in double precision."""

from __future__ import annotations

import pytest
import torch
from sertbench.models.glam import GLAM
from torch import Tensor, nn
from torch.nn import functional

from sertbench import spectral_layers
from sertbench.spectral_layers import SpectralConv2d, SpectralProduct, pays

TRUNK = (32, 128, 13, 14), (128, 128, 5, 5)  # GLAM's last convolution: a batch of maps and its kernels


@pytest.fixture(autouse=True)
def avx2(monkeypatch):
    """A fixed seed, and the choice as on a CPU with AVX2, whatever this one has."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest value of b."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


@pytest.mark.parametrize(
    ("x_shape", "kernels", "size"),
    [
        ((3, 4, 13, 14), 5, 5),
        ((2, 3, 12, 15), 4, 5),
        ((2, 3, 2, 9), 2, 7),  # a kernel larger than the maps
        ((2, 3, 4, 5), 2, 3),
        ((1, 2, 6, 6), 3, 1),
        ((2, 3, 1, 1), 2, 3),  # real frequencies alone
        ((1, 1, 1, 1), 1, 1),
    ],
)
def test_values_and_gradients_are_those_of_the_direct_convolution(x_shape, kernels, size):
    x = torch.randn(x_shape, requires_grad=True)
    weight = torch.randn(kernels, x_shape[1], size, size, requires_grad=True)
    y = SpectralProduct.apply(x, weight)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    exact_x, exact_weight = (leaf.detach().double().requires_grad_() for leaf in (x, weight))
    exact = functional.conv2d(exact_x, exact_weight, padding="same")
    exact.backward(gradient.double())
    assert apart(y, exact) < 2e-6
    assert apart(x.grad, exact_x.grad) < 2e-6
    assert apart(weight.grad, exact_weight.grad) < 2e-6


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_what_is_frozen_gets_no_gradient_and_the_other_its_own(frozen):
    leaves = {"x": torch.randn(3, 2, 6, 5), "weight": torch.randn(4, 2, 3, 3)}
    other = leaves["weight" if frozen == "x" else "x"].requires_grad_()
    SpectralProduct.apply(*leaves.values()).square().sum().backward()
    found, other.grad = other.grad, None
    functional.conv2d(*leaves.values(), padding="same").square().sum().backward()
    assert apart(found, other.grad) < 1e-5
    assert leaves[frozen].grad is None


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layer_gives_the_same_in_both_ways(monkeypatch, bias, layout):
    layer, x = SpectralConv2d(6, 8, 5, bias=bias), torch.randn(4, 6, 7, 9).to(memory_format=layout)
    monkeypatch.setattr(spectral_layers, "pays", lambda *_: True)
    spectral = layer(x)
    monkeypatch.setattr(spectral_layers, "pays", lambda *_: False)
    assert apart(spectral, layer(x)) < 5e-6
    assert not torch.equal(spectral, layer(x))  # else only one way was gone


def test_the_layer_draws_the_weights_of_a_convolution():
    torch.manual_seed(3)
    layer = SpectralConv2d(6, 8, 5)
    torch.manual_seed(3)
    plain = nn.Conv2d(6, 8, 5, padding="same")
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), plain.parameters(), strict=True))


def test_glam_computes_the_same_in_both_ways(monkeypatch):
    torch.manual_seed(1)
    network = GLAM((26, 57), 4)
    x, target = torch.randn(32, 26, 57) * 100, torch.arange(32) % 4
    found = []
    for way in (True, False):
        monkeypatch.setattr(spectral_layers, "pays", lambda *_, way=way: way)
        network.zero_grad()
        logits = network(x)
        functional.cross_entropy(logits, target).backward()
        found.append((logits.detach(), torch.cat([p.grad.flatten() for p in network.parameters()])))
    (logits, gradient), (direct_logits, direct_gradient) = found
    assert apart(logits, direct_logits) < 5e-5
    assert float((gradient - direct_gradient).norm() / direct_gradient.norm()) < 1e-3


def test_products_pay_for_many_channels_on_small_maps_in_large_batches():
    x, weight = (torch.empty(shape) for shape in TRUNK)
    assert pays(x, weight)
    assert pays(x[:16], weight)
    assert not pays(x[:8], weight)  # the transform of the kernels would cost what the rest saves
    assert pays(x[:, :64], weight[:64, :64])
    assert not pays(x[:, :16], weight[:16, :16])
    assert not pays(torch.empty(32, 128, 100, 100), weight)  # the transforms grow with the square of the map
    assert not pays(x, torch.empty(128, 128, 3, 3))


def test_they_do_not_pay_where_convolutions_are_fast(monkeypatch):
    x, weight = (torch.empty(shape) for shape in TRUNK)
    assert not pays(x.to("meta"), weight)
    assert not pays(x.double(), weight.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not pays(x, weight)
    for capability in ("AVX512", "DEFAULT"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert not pays(x, weight)


def test_an_exported_program_holds_the_convolution():
    layer = SpectralConv2d(*TRUNK[1][:3])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(layer, (torch.randn(TRUNK[0]),), dynamic_shapes=({0: batch},))
    called = [str(node.target) for node in program.graph.nodes]
    assert any("conv2d" in name for name in called)
    assert not any("mm" in name for name in called)
