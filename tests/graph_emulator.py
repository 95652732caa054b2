"""What a CUDA graph does, on a CPU: operations are recorded with the tensors and numbers that they were given, and are
done again on the same memory. Nothing of Python runs again, and waiting for the device is refused, as in a capture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WRITES = {"aten::native_batch_norm": (3, 4)}  # arguments that its schema does not call written to: running statistics
WAITS = {"aten::_local_scalar_dense", "aten::nonzero"}


class Recorder(TorchDispatchMode):
    """Does what it records once, and remembers what was there before: a capture does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self._made: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = func._schema.name, kwargs or {}
        if name in WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        for i, (place, value) in enumerate(zip(func._schema.arguments, args, strict=False)):
            if i in WRITES.get(name, ()) or (place.alias_info is not None and place.alias_info.is_write):
                for tensor in tensors(value):
                    if tensor.data_ptr() not in self._made:
                        self._before.setdefault(tensor.data_ptr(), (tensor, tensor.detach().clone()))
        result = func(*args, **kwargs)
        outputs = tensors(result)
        if not any(place.alias_info is not None for place in func._schema.arguments):
            self._made |= {tensor.data_ptr() for tensor in outputs}
        self.calls.append((func, args, kwargs, outputs))
        return result

    def undo(self) -> None:
        """Put all memory back that was there before."""
        with torch.no_grad():
            for tensor, value in self._before.values():
                tensor.copy_(value)

    def replay(self) -> None:
        """Do everything again, each result in the memory of the first one."""
        with torch.no_grad():
            for func, args, kwargs, outputs in self.calls:
                for old, new in zip(outputs, tensors(func(*args, **kwargs)), strict=True):
                    if new.data_ptr() != old.data_ptr():
                        old.copy_(new)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in what an operation takes or gives."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def emulated(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """As `recording.cuda_graph`."""
    random = torch.get_rng_state()
    recorder = Recorder()
    try:
        with recorder:
            result = work()
    finally:
        recorder.undo()
        torch.set_rng_state(random)
    return recorder.replay, result
