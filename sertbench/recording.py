"""A training step that is recorded once and then replayed: one launch in place of some hundreds (a CUDA graph).

The first steps of a fit run as they are: cuDNN chooses its algorithms, and the optimiser makes its state. Then the step
on a whole batch is recorded; the last batch of an epoch, if it is smaller, runs as it is. Whatever changes from step to
step must reach the recording as a tensor on the device: the batch, mixup's shares and partners, the learning rate (see
`optimisation.make_optimiser`), the random numbers (see `seeding.TorchState`).

A model that changes values of its own in Python from step to step or from epoch to epoch would be recorded with one of
them: it is noticed and not recorded. So is one whose step cannot be recorded, because it waits for the device, say. And
the first replay is checked against the step itself, from the same weights and random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from sertbench.checkpoints import plain_attributes
from sertbench.resources import is_out_of_memory
from sertbench.seeding import TorchState, random_numbers, set_random_numbers

AS_IT_IS = 3  #        steps before the recording
LOSS = 1e-2  #         relative difference between the losses of a step and of its replay: rounding, in bfloat16
UPDATE = (
    0.5  #        and between their changes of all weights: Adam gives weights whose gradients are rounding full steps
)

Step = Callable[..., Tensor]
# Records work without doing it: gives what does it again, and the tensor that its result will be in.
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record work as a CUDA graph.

    Other threads may meanwhile wait for the device, so only this one's calls are checked.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result


class Recording:
    """The recorded step of one fit. `note` says in words why there is none."""

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, device: str, record: Record = cuda_graph
    ) -> None:
        self.note = ""
        self._network = network
        self._optimiser = optimiser
        self._device = device
        self._record = record
        self._before: str | None = None  # the model's own values at the first step
        self._steps = 0
        self._inputs: tuple[Tensor, ...] = ()  # where the recorded step reads
        self._replay: Callable[[], None] | None = None
        self._result: Tensor | None = None
        self._checked = False

    def next_epoch(self) -> None:
        """Look whether the model is as it was: to be called before an epoch's first step."""
        if self._before is not None and own_values(self._network) != self._before:
            self._give_up("the model changes values of its own as it trains")

    def run(self, step: Step, *inputs: Tensor) -> Tensor:
        """As `step(*inputs)`, whose result must be used before the next call. All steps of a fit must be the same."""
        if self.note:
            return step(*inputs)
        if self._before is None:
            self._before, self._inputs = own_values(self._network), inputs
        if shapes(inputs) != shapes(self._inputs):
            return step(*inputs)
        if self._replay is None and self._steps < AS_IT_IS:
            self._steps += 1
            result = step(*inputs)
            self.next_epoch()
            return result
        if self._replay is None:
            self._inputs = tuple(tensor.clone() for tensor in inputs)
            self._try_to_record(step)
            return step(*inputs)
        if not self._checked:
            self._checked = True
            return self._check(step, inputs)
        return self._replayed(inputs)

    def _try_to_record(self, step: Step) -> None:
        random = TorchState(self._device).apart()  # a recording that fails can leave the one in use unusable
        try:
            self._replay, self._result = self._record(lambda: step(*self._inputs))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            random.enter()
            self._give_up(f"{type(error).__name__}: {error}".splitlines()[0])

    def _replayed(self, inputs: tuple[Tensor, ...]) -> Tensor:
        assert self._replay is not None, "it was recorded"
        assert self._result is not None, "it was recorded"
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor)
        self._replay()
        return self._result

    def _check(self, step: Step, inputs: tuple[Tensor, ...]) -> Tensor:
        """The first replay, of another batch than the recorded one. If it is not the step, the step itself counts."""
        weights = list(self._network.parameters())
        kept = [*weights, *self._network.buffers(), *optimiser_state(self._optimiser)]
        before, numbers = copies(kept), random_numbers(self._device)
        expected = step(*inputs).clone()
        after, numbers_after = copies(kept), random_numbers(self._device)
        put_back(kept, before)
        set_random_numbers(numbers)
        result = self._replayed(inputs)
        change = length(new - old for new, old in zip(after, before[: len(weights)], strict=False))
        apart = length(weight.detach() - new for weight, new in zip(weights, after, strict=False))
        if torch.allclose(result, expected, rtol=LOSS) and apart <= UPDATE * change:
            return result
        put_back(kept, after)
        set_random_numbers(numbers_after)
        said = f"its loss is {float(result):.6g} and not {float(expected):.6g}"
        self._give_up(f"{said}, its weights are {apart:.3g} from those of the step, which changes them by {change:.3g}")
        return expected

    def _give_up(self, reason: str) -> None:
        self.note = f"its step could not be recorded as a CUDA graph, so it ran at the pace of Python ({reason})"
        self._replay = self._result = None
        self._inputs = ()


def shapes(tensors: tuple[Tensor, ...]) -> list[tuple[torch.Size, torch.dtype]]:
    """What two batches must have in common to be the same work."""
    return [(tensor.shape, tensor.dtype) for tensor in tensors]


def own_values(network: nn.Module) -> str:
    """The plain values that the modules of a network keep for themselves, tensors by their identity."""

    def said(value: object) -> str:
        if isinstance(value, Tensor):
            return f"tensor {id(value)}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(said, value))}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{name!r}: {said(each)}' for name, each in value.items())}}}"
        return repr(value)

    return said([plain_attributes(module) for module in network.modules()])


def optimiser_state(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    """All that an optimiser keeps about the weights."""
    for state in optimiser.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The values at present."""
    return [tensor.detach().clone() for tensor in tensors]


def put_back(tensors: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Give tensors other values in their own memory."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.detach().copy_(value)


def length(parts: Iterable[Tensor]) -> float:
    """Euclidean norm of all parts together."""
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts))
