"""Several fits in one process that take turns, so that many small networks fill a GPU that one leaves nearly idle.

A training step of a small network is a few hundred kernels of some microseconds each: Python cannot launch them as fast
as a GPU does them. Three ways were weighed for K fits at once:

- one program for all (`torch.func.vmap` over stacked weights): K times fewer launches, but recurrent layers and
  in-place operations have no batching rule, the buffers of batch normalisation would have to be carried by hand, and
  convolutions become grouped ones, which cuDNN does slowly. Shapes must be equal, and members end together;
- grouped convolutions by hand: the same, and every plug-in would have to know;
- what is done here: a fit is left as it is, `fits.run_fit` from its first line to its last, in a thread and on a CUDA
  stream of its own. One thread at a time has the turn and launches one step, as one recorded graph where that is
  possible (see `recording`); the GPU works on the steps of all of them at the same time.

So a fit beside others is the fit alone: the same code in the same order on the same random numbers (each has its own
`TorchState`, put in place with its turn), bit for bit on a CPU. Architecture, batch size, learning rate, checkpoints,
early stopping and errors are each fit's own business, and one that ends makes room for the next at once.

The loop says where a turn may end (`pause`) and where a fit only waits (`away`). Outside of `Turns` both do nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from sertbench.errors import StoppedError
from sertbench.executors import STOPPED
from sertbench.seeding import TorchState

Room = Callable[[], int | None]

_mine = threading.local()


class Member:
    """One fit: its random numbers, whether it has the turn, and the signal that it gets it."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.random: TorchState | None = None
        self.live = False
        self.has_turn = False
        self.signal = threading.Semaphore(0)


class Turns:
    """Who is at it, and whose turn it is; at most `most` fits at the same time.

    With `room`, one fit begins alone. When it has taken its memory (see `learned`), `room()` says how many there is
    room for, or None if that cannot be said yet.
    """

    def __init__(self, most: int = 1, device: str = "cpu", room: Room | None = None) -> None:
        self.limit = most if room is None else 1
        self.live = 0
        self.most = most
        self._device = device
        self._room = room
        self._state = threading.Condition()
        self._waiting: deque[Member] = deque()
        self._outside: TorchState | None = None  # the process's own random numbers while a fit has the turn
        self._stopped = False

    @contextmanager
    def member(self) -> Iterator[None]:
        """Be one of the fits: waits until there is room, then for the turn. StoppedError when nobody may go on."""
        mine = Member(self)
        with ExitStack() as stack:
            if self._device == "cuda":
                stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                stack.enter_context(torch.cuda.stream(stream))
            try:
                self._join(mine)
                self._take(mine)
                _mine.member = mine
                yield
                self.learned()
            finally:
                _mine.member = None
                self._pass_on(mine)
                self._leave(mine)

    def learned(self) -> None:
        """The fit that has the turn has taken the memory that it needs: let others in as far as there is room."""
        if self._room is None:
            return
        fits = self._room()
        if fits is not None:
            with self._state:
                self._room = None
                self.limit = max(1, min(fits, self.most))
                self._state.notify_all()

    def stop(self) -> None:
        """End all waiting in a StoppedError."""
        with self._state:
            self._stopped = True
            for member in self._waiting:
                member.signal.release()
            self._state.notify_all()

    def _join(self, mine: Member) -> None:
        with self._state:
            self._state.wait_for(lambda: self._stopped or self.live < self.limit)
            if self._stopped:
                raise StoppedError(STOPPED)
            self.live += 1
            mine.live = True

    def _leave(self, mine: Member) -> None:
        with self._state:
            self.live -= mine.live
            mine.live = False
            self._state.notify_all()

    def _take(self, mine: Member) -> None:
        """Wait for the turn, and put the fit's random numbers in place."""
        with self._state:
            if free := self._outside is None:
                self._outside = TorchState(self._device)
            else:
                self._waiting.append(mine)
        if not free:
            mine.signal.acquire()
        if self._stopped:
            raise StoppedError(STOPPED)
        assert self._outside is not None, "somebody has the turn"
        mine.has_turn = True
        mine.random = mine.random or self._outside.apart()
        mine.random.enter()

    def _pass_on(self, mine: Member) -> None:
        """Take the fit's random numbers out, and let the next one have the turn, or nobody."""
        if not mine.has_turn:
            return
        mine.has_turn = False
        if mine.random is not None:
            mine.random.leave()
        with self._state:
            if self._waiting:
                self._waiting.popleft().signal.release()
            elif self._outside is not None:
                self._outside.enter()
                self._outside = None

    def next_turn(self, mine: Member) -> None:
        """Let the others have their turns first."""
        if self._waiting or self._stopped:
            self._pass_on(mine)
            self._take(mine)

    @contextmanager
    def between(self, mine: Member) -> Iterator[None]:
        """Let the others have the turn meanwhile."""
        self._pass_on(mine)
        try:
            yield
        finally:
            self._take(mine)

    def make_room(self, mine: Member) -> None:
        """Let one fit less in from now on, and wait until there is room."""
        with self._state:
            self._room = None
            self.limit = max(1, self.live - 1)
        self._pass_on(mine)
        self._leave(mine)
        self._join(mine)
        self._take(mine)


def present() -> Member | None:
    """The fit that this thread is, if it takes turns with others."""
    found: Member | None = getattr(_mine, "member", None)
    return found


def pause() -> None:
    """A step is launched: it is the next fit's turn."""
    if (mine := present()) is not None:
        mine.turns.next_turn(mine)


@contextmanager
def away() -> Iterator[None]:
    """The device is waited for, or the disk: others may go on. What is done inside must draw no random numbers."""
    mine = present()
    if mine is None:
        yield
    else:
        with mine.turns.between(mine):
            yield


def shared() -> bool:
    """Whether this thread is one of several fits that may be at it in this process."""
    mine = present()
    return mine is not None and mine.turns.most > 1


def crowded() -> bool:
    """Whether other fits are at it beside the one that this thread is."""
    mine = present()
    return mine is not None and mine.turns.live > 1


def make_room() -> bool:
    """Go on when one of the others has ended, and with one less at a time from now on; False if there is no other."""
    mine = present()
    if mine is None or not crowded():
        return False
    mine.turns.make_room(mine)
    return True
