"""What a network's last layer is given: recorded while the test part is predicted, for the t-SNE picture of a run.

It is one more output of the one reading of the sealed test part: no label and no other pass is involved, and nothing of
it can reach a fit or a score. The first seed's network of each fold is recorded. Bundles hold `activations.parquet`:
fold, utterance, and a_0... float16, the first principal components of the fold's activations. Networks of two folds
have no axes in common: a picture shows one fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from sertbench import files

if TYPE_CHECKING:
    import pandas as pd

FILE = "activations.npy"  #  beside a fit's weights
SEED = 0  #                  the seed whose networks are recorded
PROJECTED = 256  #           wider layers are projected at random to so many numbers, which keeps distances
COMPONENTS = 50  #           kept in a bundle; the usual number before t-SNE
SHOWN = 600  #               utterances of a picture, at most


class Recorder:
    """Sums the inputs of a network's last linear layer per utterance, batch after batch in the order of the items."""

    def __init__(self, owner: np.ndarray, n_utterances: int) -> None:
        self._owner, self._n = torch.from_numpy(owner), n_utterances
        self._done, self._fits = 0, True
        self._sums: Tensor | None = None
        self._projection: Tensor | None = None

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pre-hook: (B, D) of the next B items. Any other shape makes the recording void."""
        del layer
        x = inputs[0].detach().float().cpu() if inputs else torch.zeros(0)
        owner = self._owner[self._done : self._done + len(x)]
        self._fits = self._fits and x.ndim == 2 and len(owner) == len(x) and bool(x.isfinite().all())
        if not self._fits:
            return
        if x.shape[1] > PROJECTED:
            x = x @ self._matrix(x.shape[1])
        if self._sums is None:
            self._sums = torch.zeros(self._n, x.shape[1], dtype=torch.float64)
        self._sums.index_add_(0, owner, x.double())
        self._done += len(x)

    def _matrix(self, width: int) -> Tensor:
        if self._projection is None:
            own = torch.Generator().manual_seed(0)
            self._projection = torch.randn(width, PROJECTED, generator=own) / PROJECTED**0.5
        return self._projection

    def mean(self) -> np.ndarray | None:
        """Mean over the items of each utterance, (n_utterances, D) float32; None if it was not one row per item."""
        if not self._fits or self._sums is None or self._done != len(self._owner):
            return None
        counts = torch.bincount(self._owner, minlength=self._n)[:, None]
        mean: np.ndarray = (self._sums / counts).float().numpy()
        return mean


@contextmanager
def recording(model: nn.Module, owner: np.ndarray, n_utterances: int) -> Iterator[Recorder]:
    """Record while inside; a model without a linear layer records nothing."""
    recorder = Recorder(owner, n_utterances)
    layer = last_layer(model)
    handle = layer.register_forward_pre_hook(recorder) if layer is not None else None
    try:
        yield recorder
    finally:
        if handle is not None:
            handle.remove()


def last_layer(model: nn.Module) -> nn.Linear | None:
    """The linear layer that gives the logits: the last one of as many outputs as classes, else the last one of all.

    What is made last need not come last: GLAM makes its classifier before the block that the classifier reads.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    found = [layer for layer in layers if layer.out_features == getattr(model, "n_classes", None)] or layers
    return found[-1] if found else None


def save(folder: Path, found: np.ndarray | None) -> None:
    """Keep a recording beside the fit's weights; a void one removes what was there."""
    if found is None:
        (folder / FILE).unlink(missing_ok=True)
        return

    def put(draft: Path) -> None:
        with draft.open("wb") as file:
            np.save(file, found)

    files.write(folder / FILE, put)


def collect(fits: Path, frozen: Sequence[Mapping[str, Any]], tested: Sequence[Sequence[str]]) -> pd.DataFrame | None:
    """The table of a bundle: per fold what the frozen fit of the first seed recorded; None if any fold has nothing.

    What is damaged counts as nothing. `tested` are the ids of each fold's test utterances, in the order in which they
    were predicted.
    """
    import pandas as pd

    frames = []
    for fold, ids in zip(frozen, tested, strict=True):
        path = fits / fold["fits"][SEED] / FILE
        try:
            found = np.load(path)
        except files.UNREADABLE:
            return None
        if len(found) != len(ids):
            return None
        columns = {f"a_{k}": column for k, column in enumerate(components(found).astype(np.float16).T)}
        frames.append(pd.DataFrame({"fold": fold["fold"], "utterance": list(ids), **columns}))
    return pd.concat(frames, ignore_index=True)


def components(x: np.ndarray) -> np.ndarray:
    """The first principal components, (n, k) with k <= 50, scaled so that the largest number is 1."""
    centred = x.astype(np.float64) - x.mean(axis=0)
    with threadpool_limits(1):  # the same numbers on any number of cores
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
    made: np.ndarray = (u * s)[:, :COMPONENTS]
    return made / max(float(np.abs(made).max()), 1e-12)


def embed(folder: Path) -> tuple[str, np.ndarray, np.ndarray] | None:
    """t-SNE (van der Maaten & Hinton, JMLR 2008) of the largest fold: its name, utterances (n,), points (n, 2).

    At most 600 utterances, evenly taken. None if the bundle has no recording, or one of fewer than ten utterances.
    """
    path = folder / "activations.parquet"
    if not path.exists():
        return None
    import pandas as pd
    from sklearn.manifold import TSNE

    frame = pd.read_parquet(path)
    name = str(frame["fold"].value_counts(sort=False).idxmax())
    part = frame[frame["fold"] == name]
    part = part.iloc[np.linspace(0, len(part) - 1, min(SHOWN, len(part))).astype(int)]
    x = part.filter(regex=r"^a_\d+$").dropna(axis=1).to_numpy(dtype=np.float64)
    if len(x) < 10:
        return None
    tsne = TSNE(perplexity=min(30.0, (len(x) - 1) / 3), init="random", random_state=0, max_iter=500)
    with threadpool_limits(1):  # the same picture on any number of cores; and threads would wait for each other
        points = np.asarray(tsne.fit_transform(x), dtype=np.float64)
    return name, part["utterance"].to_numpy(), points
