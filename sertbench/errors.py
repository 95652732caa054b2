"""Everything that sertbench raises on purpose.

Each message gives the bad value, what is accepted, and what to type next; the command line prints it and exits with
status 2. An exception that is not in this tree is a bug of sertbench's.

    SertbenchError
    ├── ConfigError          an option, a flag or a TOML key has a value that cannot be
    ├── PluginError          a model or corpus plug-in is unknown, broken or breaks the contract
    ├── ClaimError           a published claim's file is wrong, or cannot be replayed as asked
    ├── CorpusError          the corpus on disk is not the published one
    │   └── AudioError       one audio file cannot be used
    ├── ProtocolError        folds cannot be made, or do not keep what they promise
    │   └── LeakError        something of the test part is in the training or validation part
    ├── SealError            test data was asked for before the fold was frozen
    ├── TrainingError        a fit failed: non-finite loss, a wrong output shape
    │   └── WorkerError      a worker process died: it says nothing about the fit that it was at
    │       └── StoppedError the run was told to stop
    └── StorageError         a folder or file cannot be read or written
        ├── BusyError        another process is writing there
        └── BundleError      a result bundle is incomplete or was altered
            └── NewerBundleError  a newer sertbench wrote it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SertbenchError(Exception):
    """Base of all errors that are meant for the user."""


class ConfigError(SertbenchError):
    """An option, a flag or a TOML key has a value that cannot be."""


class PluginError(SertbenchError):
    """A model or corpus plug-in is unknown, broken, or breaks the contract."""


class ClaimError(SertbenchError):
    """A published claim's file is wrong, or it cannot be replayed as asked."""


class CorpusError(SertbenchError):
    """The corpus on disk is not the published one."""


class AudioError(CorpusError):
    """One audio file cannot be used. `fault` says why in a word, for `sertbench audit`."""

    def __init__(self, message: str, fault: str = "undecodable") -> None:
        super().__init__(message)
        self.fault = fault


class ProtocolError(SertbenchError):
    """Folds cannot be made, or do not keep what they promise."""


class LeakError(ProtocolError):
    """Something of the test part is in the training or validation part."""


class SealError(SertbenchError):
    """Test data was asked for before the fold was frozen."""


class TrainingError(SertbenchError):
    """A fit failed."""


class WorkerError(TrainingError):
    """A worker process died: it says nothing about the fit that it was at."""


class StoppedError(WorkerError):
    """The run was told to stop."""


class StorageError(SertbenchError):
    """A folder or file cannot be read or written."""


class BusyError(StorageError):
    """Another process is writing there."""


class BundleError(StorageError):
    """A result bundle is incomplete or was altered."""


class NewerBundleError(BundleError):
    """A newer sertbench wrote the bundle."""


# For a path that begins with ~ and a name.
UNKNOWN_USER = "it begins with a user that this machine does not know. Write the whole path, or ./~... for such a name"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that does not exist: the name, the nearest known ones, and all known ones.

    >>> unknown("model", "galm", ["cnn", "glam"])
    "no model is called 'galm'. Did you mean 'glam'? Known: cnn, glam"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"no {kind} is called {name!r}.{hint} Known: {', '.join(names) or 'none'}"


def few(items: Iterable[object], most: int = 8) -> str:
    """Join items for a message; when there are more than `most`, say how many more.

    >>> few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = [str(item) for item in items]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, noun: str) -> str:
    """A number of things, in the plural unless it is one.

    >>> counted(1, "row"), counted(12, "class")
    ('1 row', '12 classes')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} " + (
        noun[:-1] + "ies" if noun.endswith("y") else noun + "es" if noun.endswith("s") else noun + "s"
    )
