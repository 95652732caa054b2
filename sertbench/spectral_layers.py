"""Convolution by products of Fourier transforms, for many channels on small maps.

Mathieu, Henaff & LeCun, "Fast Training of Convolutional Networks through FFTs", ICLR 2014. A 5x5 kernel on maps of
13 x 14 takes 12.7 multiplications where the product of the transforms takes one, and transforms as small as these are
products with a matrix, too. The values are those of the direct convolution to about 1e-6 of the largest.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

# Measured (tests/benchmarks): multiplications take longer here, since they have more memory to go through, and those of
# the kernels' transform, whose matrix is thin, twice as long as the others.
ADVANTAGE, THIN = 2, 2


class SpectralConv2d(nn.Conv2d):
    """A convolution with zeros around the maps, (B, C, H, W) to (B, K, H, W), in the way that is faster.

    Kernels are square, of odd size. Weights, values and gradients are those of `nn.Conv2d`.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, padding: Literal["same"] = "same", bias: bool = True):
        super().__init__(c_in, c_out, kernel, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W)."""
        if not pays(x, self.weight):
            return super().forward(x)
        y: Tensor = SpectralProduct.apply(x, self.weight)
        return y if self.bias is None else y + self.bias[:, None, None]


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether products of transforms are the faster way for x (B, C, H, W) and weight (K, C, size, size).

    Measured with AVX2, where convolutions multiply no faster than products of matrices. With AVX-512, in bfloat16 and
    on a GPU they do. A program that is written down (export) holds the convolution itself.
    """
    if (
        x.device.type != "cpu"
        or x.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.backends.cpu.get_cpu_capability() != "AVX2"
    ):
        return False
    B, C, H, W = x.shape
    K, _, size, _ = weight.shape
    frequencies = (H + size // 2) * (W + size // 2)
    transforms = frequencies * (H * W * B * (C + K) + THIN * size * size * C * K)
    products = frequencies * 3 // 2 * B * C * K
    return ADVANTAGE * (transforms + products) <= H * W * size * size * B * C * K


class SpectralProduct(torch.autograd.Function):
    """x (B, C, H, W) and weight (K, C, size, size) to (B, K, H, W), without a bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply (B, C) by (C, K), frequency by frequency."""
        B, C, H, W = x.shape
        K, _, size, _ = weight.shape
        transforms = Transforms.of(H, W, size)
        maps = transforms.there(transforms.maps, x.reshape(B * C, -1)).view(-1, B, C)
        kernels = transforms.there(transforms.kernels, weight.reshape(K * C, -1)).view(-1, K, C)
        products = torch.bmm(maps, kernels.mT)
        ctx.save_for_backward(maps, kernels)
        ctx.transforms, ctx.shapes = transforms, (x.shape, weight.shape)
        both, real, imaginary = transforms.parts(products)
        both.sub_(real).sub_(imaginary)
        real.sub_(imaginary)
        return (transforms.first(products).flatten(1).t() @ transforms.back).view(B, K, H, W)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Go the same way in reverse."""
        maps, kernels = ctx.saved_tensors
        transforms, (x_shape, weight_shape) = ctx.transforms, ctx.shapes
        B, K = gradients[0].shape[:2]
        products = maps.new_empty(len(maps), B, K)
        torch.mm(transforms.back, gradients[0].reshape(B * K, -1).t(), out=transforms.first(products).view(-1, B * K))
        both, real, imaginary = transforms.parts(products)
        torch.add(both, real, out=imaginary).neg_()
        real.sub_(both)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = transforms.again(transforms.maps, torch.bmm(products, kernels)).view(x_shape)
        if ctx.needs_input_grad[1]:
            of_weight = transforms.again(transforms.kernels, torch.bmm(products.mT, maps)).view(weight_shape)
        return of_x, of_weight


class Transforms(NamedTuple):
    """Matrices of real numbers for the transforms of maps (H, W), kernels (size, size), and of products back to maps.

    Of two conjugate frequencies one is computed: `pairs` = p of them. The other r frequencies are real. Rows are p real
    parts, r real frequencies, p imaginary parts; those of `back` p imaginary parts, p real parts, r real frequencies.

    Three real products make a complex one: (a + ib)(c + id) = k1 - k2 + i(k3 - k1 - k2) with k1 = ac, k2 = bd and
    k3 = (a + b)(c + d). So p sums of both parts stand before the rows where frequencies are multiplied.
    """

    maps: Tensor  # (2 p + r, H * W)
    kernels: Tensor  # (2 p + r, size * size)
    back: Tensor  # (2 p + r, H * W)
    pairs: int

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sums, real parts and imaginary parts among rows (3 p + r, ...)."""
        return rows[: self.pairs], rows[self.pairs : 2 * self.pairs], rows[len(rows) - self.pairs :]

    def first(self, rows: Tensor) -> Tensor:
        """All but the last p of rows (3 p + r, ...)."""
        return rows[: len(rows) - self.pairs]

    def there(self, matrix: Tensor, values: Tensor) -> Tensor:
        """Transform values (n, positions): (3 p + r, n)."""
        rows = values.new_empty(self.pairs + len(matrix), len(values))
        torch.mm(matrix, values.t(), out=rows[self.pairs :])
        both, real, imaginary = self.parts(rows)
        torch.add(real, imaginary, out=both)
        return rows

    def again(self, matrix: Tensor, rows: Tensor) -> Tensor:
        """Give the transpose of `there`: rows (3 p + r, ...), which it overwrites, to (n, positions)."""
        both, real, imaginary = self.parts(rows)
        real.add_(both)
        imaginary.add_(both)
        return rows[self.pairs :].flatten(1).t() @ matrix

    @classmethod
    @functools.cache
    def of(cls, H: int, W: int, size: int) -> Transforms:
        """The transforms with as many zeros behind a map as keep kernels from reaching around to its other side."""
        height, width = H + size // 2, W + size // 2
        frequency = np.arange(height * width)
        opposite = -(frequency // width) % height * width + -(frequency % width) % width
        chosen = np.concatenate([frequency[frequency < opposite], frequency[frequency == opposite]])
        pairs = int((frequency < opposite).sum())

        def waves(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            """exp(i angle) of the chosen frequencies at all positions: (p + r, positions)."""
            turns = np.multiply.outer(chosen // width, rows / height)[:, :, None]
            turns = turns + np.multiply.outer(chosen % width, columns / width)[:, None, :]
            result: np.ndarray = np.exp(2j * np.pi * turns).reshape(len(chosen), -1)
            return result

        maps = waves(np.arange(H), np.arange(W))
        kernels = waves(*[np.arange(size) - size // 2] * 2)
        back = maps * np.where(np.arange(len(chosen)) < pairs, 2, 1)[:, None] / (height * width)
        # The maps' own waves are conjugate; the kernels' would be, did networks convolve: they correlate.
        return cls(
            stacked(maps.real, -maps.imag[:pairs]),
            stacked(kernels.real, kernels.imag[:pairs]),
            stacked(-back.imag[:pairs], back.real),
            pairs,
        )


def stacked(*rows: np.ndarray) -> Tensor:
    """All rows (n_i, positions) in one matrix of float32."""
    return torch.from_numpy(np.concatenate(rows).astype(np.float32))
