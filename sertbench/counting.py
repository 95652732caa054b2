"""How large a network is: parameters, and multiply-adds of a forward pass.

A multiply-add (MAC) is one product added to a sum: half of a FLOP counter's two operations. Counted are convolutions,
matrix products, recurrences and attention, as the field does; sums, activations, norms and Fourier transforms are not.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten


def parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters of a model, and those of them that are trained."""
    every = list(model.parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def megabytes(model: nn.Module) -> float:
    """Size of parameters and buffers in MB (10^6 bytes), in the precision that they are held in."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())) / 1e6


def macs(network: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one forward pass in eval mode, of all items of a batch together.

    Count on the CPU: kernels that fuse whole networks on other devices cannot be looked into.
    """
    was_training = network.training
    fast_path = torch.backends.mha.get_fastpath_enabled()
    counter = FlopCounterMode(display=False, custom_mapping=UNCOUNTED)
    torch.backends.mha.set_fastpath_enabled(False)  # it is one opaque operation
    try:
        with torch.no_grad(), counter, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.eval()(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        network.train(was_training)
    return int(counter.get_total_flops()) // 2


def _recurrence(steps: list[int], w_ih: list[int], w_hh: list[int], *_: Any, **__: Any) -> int:
    """FLOPs of one direction of one layer on (T, B, I): each step multiplies by all weights but the biases."""
    return 2 * steps[0] * steps[1] * (math.prod(w_ih) + math.prod(w_hh))


def _attention(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    """FLOPs of softmax(Q K') V on (B, heads, T, d)."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrix_vector(matrix: list[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _added_matrix_vector(_start: list[int], matrix: list[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


# What torch's counter leaves out (2.14): the CPU's fused LSTM layer and attention, and products with a vector.
UNCOUNTED: dict[Any, Callable[..., int]] = {
    aten.mkldnn_rnn_layer: _recurrence,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.addmv: _added_matrix_vector,
}


class TensorMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch says no types here
    """Counts the bytes of all tensors that are made under it and are alive at the same time: `peak`.

    Kernels' own work space is not seen, so a real peak is somewhat higher; the figure is the same on every machine.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: WeakIdKeyDictionary = WeakIdKeyDictionary(ref_type=weakref.ref)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and note what it made."""
        del types
        for storage in self._new((args, kwargs)):
            self._known[storage] = 0  # it was there before: an operation in place gives it back
        made = function(*args, **(kwargs or {}))
        for storage in self._new(made):
            self._known[storage] = size = storage.nbytes()
            weakref.finalize(storage, self._forget, size)
            self.now += size
        self.peak = max(self.peak, self.now)
        return made

    def _new(self, values: object) -> list[torch.UntypedStorage]:
        """The storages of all tensors among some values that are not known yet, each once."""
        storages = [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return list({id(s): s for s in storages if s not in self._known}.values())

    def _forget(self, size: int) -> None:
        self.now -= size
