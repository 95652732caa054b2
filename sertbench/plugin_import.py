"""Running somebody's file as a module, and saying in one sentence, with its line, what goes wrong in it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from sertbench.errors import PluginError, SertbenchError

RAISES = (Exception, SystemExit)  # what somebody's code may end in; Ctrl-C and SIGTERM are neither
PACKAGE = Path(__file__).parent

_one_at_a_time = threading.RLock()  # a plug-in may load another one
_seen: dict[Path, str] = {}  # the author's files that this process has imported, with the hashes that they had


def run(name: str, path: Path) -> ModuleType:
    """Execute a file as module `name`, once per content; no __pycache__ is left beside somebody's file.

    What it imports of the author's own is imported anew if any of that was edited since. Raises whatever the file
    raises.
    """
    with _one_at_a_time:  # or another thread would see a module that has not run to its end
        return sys.modules[name] if name in sys.modules else _run(name, path)


def _run(name: str, path: Path) -> ModuleType:
    from sertbench import plugin_text  # errors are told without it

    own = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in plugin_text.helpers(path)}
    if any(_seen.get(file, sha256) != sha256 for file, sha256 in own.items()):
        forget(own)
    _seen.update(own)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "find() accepts .py files only"
    module = importlib.util.module_from_spec(spec)
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    sys.modules[name] = module  # before it runs: a dataclass looks its own module up
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget(files: Collection[Path]) -> None:
    """Have the next import of these files read them again: a long-lived worker would go on with what it once read."""
    there = {file.resolve() for file in files}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and Path(file).resolve() in there:
            del sys.modules[name]
            package, _, last = name.rpartition(".")
            if vars(sys.modules.get(package, object)).get(last) is module:
                delattr(sys.modules[package], last)
    importlib.invalidate_caches()


def refuse_helper(file: Path, error: ImportError) -> None:
    """PluginError for a module that is missing although it lies beside the file that imports it."""
    module = (error.name or "").partition(".")[0]
    beside = (file.parent / f"{module}.py").is_file() or (file.parent / module / "__init__.py").is_file()
    if "relative import" in str(error) or (isinstance(error, ModuleNotFoundError) and beside):
        raise PluginError(
            f"{file} imports {module or 'a module'!r} from beside it ({error}): a plug-in that is given by its path is "
            "one file. Put the code into it, make both an installed package (docs/add-a-model.md), or import without "
            f"dots and put the folder on Python's path: PYTHONPATH={file.parent}"
        ) from error


def blame(file: Path | None, place: str, error: BaseException) -> str:
    """Where in a plug-in's file an error arose, or else in which `place`, and what it says."""
    text = said(error)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        line, text = error.lineno, f"{type(error).__name__}: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(file)), None)
    return f"{file}, line {line}: {text}" if line else f"{place}: {text}"


def place(error: BaseException) -> str:
    """Where an error arose: the last line that is neither sertbench's own nor a library's, else the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(f.filename) for f in frames]
    own = [
        frame
        for frame, file in zip(frames, files, strict=True)
        if "site-packages" not in file.parts and not file.is_relative_to(PACKAGE)
    ]
    last = (own or list(frames))[-1]
    return f"{last.filename}, line {last.lineno}"


def said(error: BaseException) -> str:
    """What an error of a plug-in says, and what to do about it if it does not say that itself."""
    if isinstance(error, SertbenchError):
        return str(error)
    text = ": ".join(filter(None, (type(error).__name__, str(error))))
    if isinstance(error, SystemExit):
        return f"{text} (a plug-in must not end the program: raise an exception in place of sys.exit)"
    if "before Module.__init__() call" in str(error):
        return (
            f"{text} (begin __init__ with super().__init__(input_shape, n_classes); a layer's with super().__init__())"
        )
    return text
