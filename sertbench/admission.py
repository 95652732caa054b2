"""Who may start: a fit asks for its memory before it takes it, and waits while it is not free beside the others.

All fits of a user on a machine are known to each other through small files in the machine's temporary folder, whoever
started them: worker processes, workers of a cluster, other runs. A file is locked as long as its fit is at it, and the
system unlocks it when the process ends in whatever way. `verdict` alone decides. It is fair (who came first goes first,
unless there is room for both), and never waits for nobody: with no other fit at it the first one starts.

Nothing here changes a result, only when a fit starts. Where the files cannot be written nobody waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sertbench import files, memory, turns
from sertbench.errors import StorageError, TrainingError, counted
from sertbench.stopwatch import lap

POLL = 1.0  #          seconds between two looks at whether there is room
LOCK_SECONDS = 10.0  # to wait for others that look at the files; each takes less than a millisecond
KEPT = 8  #            a process keeps freed memory for its next fit, up to this part of what is free

_own: list[int] = []  # what this process held before its first fit


@dataclass(frozen=True)
class Claim:
    """The memory of one fit, in bytes."""

    pid: int
    before: int  #   what its process held before its first fit
    need: int  #     what the fit may take beside that
    least: int  #    and what it takes for certain
    came: int  #     when it asked first, in ns
    running: bool  # False: it waits


@dataclass(frozen=True)
class Need:
    """What a fit asks for, in bytes beside its process (0: nothing is asked)."""

    size: int = 0  #  what it may well take: others are kept from that
    least: int = 0  # what it takes for certain: where there is less, it is not tried
    advice: Callable[[int], str] = lambda room: "Run it on a machine with more"  # noqa: ARG005 - for whoever has `room`


def to_come(claims: Sequence[Claim], held: Callable[[int], int]) -> int:
    """Bytes that the processes of these fits will take beside what each of them holds already."""
    most: dict[int, int] = {}
    for claim in claims:
        most[claim.pid] = most.get(claim.pid, claim.before) + claim.need
    return sum(max(0, size - held(pid)) for pid, size in most.items())


def verdict(mine: Claim, others: Sequence[Claim], held: Callable[[int], int], free: int, total: int) -> str:
    """Whether a fit may "start", has to "wait", or can "never" run here, with `free` bytes left of `total`."""
    if mine.before + mine.least > total:
        return "never"
    first = [claim for claim in others if claim.running or claim.came < mine.came]
    if not first or to_come([*first, mine], held) <= free:
        return "start"
    return "wait"


def folder() -> Path:
    """Where the fits of this user on this machine are known to each other."""
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:  # none of the usual ones is there and can be written to
        place = os.devnull  #    nor can this one: nobody is waited for
    return Path(place) / f"sertbench-{os.getuid()}"


@contextmanager
def admitted(need: Need, notify: Callable[[str], None]) -> Iterator[None]:
    """Take so much memory within the block, which begins when it is free.

    `notify` gets one sentence if that takes a while. TrainingError if there can never be as much here.
    """
    if not need.size:
        yield
        return
    if not _own:
        _own.append(memory.held())
    mine = Claim(os.getpid(), _own[0], need.size, need.least, time.time_ns(), running=False)
    with Ledger.opened(mine) as ledger:
        told = False
        while (found := ledger.ask()) != "start":
            if found == "never":
                room = max(0, memory.total() - mine.before)
                raise TrainingError(
                    f"it needs {memory.gigabytes(need.least)} of memory or more, and there are "
                    f"{memory.gigabytes(room)} here in all. {need.advice(room)}"
                )
            if not told:
                notify(f"waits for memory: it needs about {memory.gigabytes(need.size)}, {ledger.state()}")
                told = True
            with turns.away():
                time.sleep(POLL)
        lap("memory")
        yield
    if memory.held() - mine.before > memory.available() // KEPT:
        memory.give_back()


class Ledger:
    """The claims of all fits of this user on this machine, and one's own among them."""

    def __init__(self, place: Path, mine: Claim) -> None:
        self._place = place
        self._mine = mine
        self._file = -1
        self._path = place / f"{mine.pid}-{uuid.uuid4().hex}.claim"
        self._others: list[Claim] = []
        self._free = 0

    @classmethod
    @contextmanager
    def opened(cls, mine: Claim) -> Iterator[Ledger]:
        """A ledger with one's own claim in it, as one that waits, until the end of the block."""
        ledger = cls(folder(), mine)
        try:
            with suppress(OSError):
                ledger._place.mkdir(mode=0o700, exist_ok=True)
            yield ledger
        finally:
            if ledger._file >= 0:
                with suppress(OSError):
                    ledger._path.unlink()
                os.close(ledger._file)

    def ask(self) -> str:
        """The verdict on one's own claim as things are now; one that may start is noted as running."""
        held = memory.held
        try:
            if self._place.stat().st_uid != os.getuid():
                raise StorageError("somebody else's folder")
            with files.locked(self._place / "lock", LOCK_SECONDS, "busy"):
                self._others, self._free = list(self._read()), memory.available()
                found = verdict(self._mine, self._others, held, self._free, memory.total())
                if found != "never":
                    self._write(replace(self._mine, running=found == "start"))
                return found
        except (StorageError, OSError):  # a full disk, say: then nobody is waited for
            return verdict(self._mine, (), held, memory.available(), memory.total())

    def state(self) -> str:
        """What one waits for, in words."""
        running = sum(claim.running for claim in self._others)
        taken = to_come([claim for claim in self._others if claim.running], memory.held)
        free = memory.gigabytes(max(0, self._free - taken))
        return f"{free} are free beside {counted(running, 'running fit')} on this machine"

    def _read(self) -> Iterator[Claim]:
        """The claims of others; those that nobody holds any more are removed."""
        for path in self._place.glob("*.claim"):
            # One that ends meanwhile takes its file away; one of another version may say other things.
            with suppress(FileNotFoundError, ValueError, TypeError), path.open() as file:
                if path == self._path:
                    continue
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield Claim(**json.load(file))
                else:
                    path.unlink()

    def _write(self, claim: Claim) -> None:
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        text = json.dumps(asdict(claim)).encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))
