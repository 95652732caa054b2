"""The curves of a run's fits for TensorBoard, `sertbench run --tensorboard`: a folder per fit, a scalar per epoch.

    loss/train, loss/val (cross-entropy), uar/val (percent), rate/learning, rate/utterances_per_second

A fit that was interrupted goes on from its last checkpoint, so that some epochs come twice: TensorBoard is told to drop
what it had from there on. When a fit ends, its folder holds the curve of its record, each epoch once.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from sertbench.fits import FitRecord
    from sertbench.training import EpochEnd

FOLDER = "tensorboard"
FLUSH_SECONDS = 10


def refuse_missing() -> None:
    """ConfigError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ConfigError("--tensorboard needs TensorBoard. Type: pip install 'sertbench[tensorboard]'") from None


@dataclass
class Curve:
    """The open file of a fit."""

    writer: SummaryWriter
    first: int  # epoch that it begins with
    last: int  #  epoch written last


class ScalarLog:
    """Writes below a run's folder; may be told from any thread."""

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._open: dict[str, Curve] = {}
        self._lock = threading.Lock()

    def epoch(self, fit: str, event: EpochEnd, rate: float | None) -> None:
        """An epoch of the fit called `fit` (a file name) has ended; `rate` is in utterances per second."""
        with self._lock:
            curve = self._open.get(fit)
            if curve is None or event.epoch != curve.last + 1:
                if curve is not None:
                    curve.writer.close()
                curve = self._open[fit] = Curve(self._begin(fit, event.epoch), event.epoch, 0)
            add(curve.writer, event, rate)
            curve.last = event.epoch

    def fitted(self, fit: str, record: FitRecord, size: int | None) -> None:
        """A fit has ended, or was done already; `size` is how many utterances an epoch of it has, if that is known."""
        with self._lock:
            curve = self._open.pop(fit, None)
            if curve is not None:
                curve.writer.close()
                if (curve.first, curve.last) == (1, len(record.history)):
                    return
            writer = self._begin(fit, 1)
            for event in record.history:
                add(writer, event, size / event.seconds if size and event.seconds > 0 else None)
            if not record.history:
                writer.add_scalar("uar/val", 100 * record.val_uar, record.best_epoch)
            writer.close()

    def close(self) -> None:
        """Nothing more will come."""
        with self._lock:
            for curve in self._open.values():
                curve.writer.close()
            self._open.clear()

    def _begin(self, fit: str, epoch: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        place = self._folder / fit
        if epoch == 1 and place.exists():
            shutil.rmtree(place)
        return SummaryWriter(str(place), purge_step=epoch, flush_secs=FLUSH_SECONDS)


def add(writer: SummaryWriter, event: EpochEnd, rate: float | None) -> None:
    """The scalars of one epoch."""
    values = {
        "loss/train": event.loss,
        "loss/val": event.val_loss,
        "uar/val": 100 * event.val_uar,
        "rate/learning": event.learning_rate,
        "rate/utterances_per_second": rate,
    }
    for name, value in values.items():
        if value is not None:
            writer.add_scalar(name, value, event.epoch)
