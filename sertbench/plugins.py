"""Where models and corpora come from: names first, import last.

A plug-in is a file of the `models/` or `datasets/` folder (its stem is its name), an entry point of an installed
package (groups `sertbench.models` and `sertbench.datasets`), or any file given by its path. Listing reads the files as
text, so it needs neither torch nor a plug-in that can be imported; a plug-in is imported when it is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from sertbench import plugin_import, plugin_text
from sertbench.errors import UNKNOWN_USER, PluginError, SertbenchError, unknown

if TYPE_CHECKING:
    from sertbench.corpus import Corpus
    from sertbench.model import Model

Kind = Literal["models", "datasets"]

_WORD = {"models": "model", "datasets": "dataset"}
_HOME = {"models": "sertbench.model", "datasets": "sertbench.corpus"}
BASES = {"models": ("NeuralModel", "Estimator"), "datasets": ("Corpus",)}  # what a plug-in subclasses, in _HOME


@dataclass(frozen=True)
class Source:
    """A plug-in that is known but not imported. The fields from `summary` on are read from its text, if it tells."""

    name: str
    kind: Kind
    spec: str  #            what `find` takes to find it again, from any folder and in any process
    origin: str  #          "built in", "package foo 1.2" or "file /x/y.py"
    module: str
    path: Path | None  #    None: an installed package's file that cannot be located without importing it
    class_name: str = ""  # empty: the only class of the module that is a plug-in
    summary: str = ""  #    first line of the class's docstring
    paper: str = ""
    family: str = ""
    year: int = 0
    n_parameters: int = 0  # as the plug-in states it, for its recipe's input and 4 classes
    features: str = ""  #    of a model's recipe, in words

    @property
    def local(self) -> bool:
        """Given by its path, not by a name."""
        return self.spec != self.name


@dataclass(frozen=True)
class LoadedModel:
    """An architecture ready for use. `load_model(spec)` gives the same one in a spawned worker."""

    spec: str
    name: str
    cls: Model
    source_sha256: str  # of the bytes of the file that defines the class, and of the author's own that it imports
    origin: str


@dataclass(frozen=True)
class LoadedCorpus:
    """A corpus adapter ready for use."""

    spec: str
    name: str
    corpus: Corpus
    origin: str

    @cached_property
    def source_sha256(self) -> str:
        """As of a model. Of many corpora it is worked out when it is asked for: a list of them has no need of it."""
        return _source_sha256(type(self.corpus))


def sources(kind: Kind) -> dict[str, Source]:
    """Every plug-in that can be asked for by name, sorted by name, with what its text tells; nothing is imported.

    Raises PluginError if two plug-ins claim one name.
    """
    return {name: _described(source) for name, source in _known(kind).items()}


def _known(kind: Kind) -> dict[str, Source]:
    """As `sources`, without reading the files."""
    found: dict[str, Source] = {}
    for source in [*_built_in(kind), *_installed(kind)]:
        other = found.setdefault(source.name, source)
        if other is not source:
            raise PluginError(
                f"two {kind} are called {source.name!r}: {_place(other)} and {_place(source)}. "
                "Rename or uninstall one of them."
            )
    return dict(sorted(found.items()))


def names(kind: Kind) -> list[str]:
    """The names of all plug-ins of a kind, sorted."""
    return list(_known(kind))


def find(kind: Kind, spec: str) -> Source:
    """The plug-in for a registered name, `path/to/file.py` or `path/to/file.py:ClassName`, without importing it.

    Raises PluginError for a name nobody claims and for a path that is not a Python file.
    """
    return _described(_find(kind, spec))


def _find(kind: Kind, spec: str) -> Source:
    """As `find`, without reading the file."""
    head, _, tail = spec.rpartition(":")
    place, class_name = (head, tail) if head and tail.isidentifier() else (spec, "")
    if "/" in place or place.endswith(".py"):
        return _by_path(kind, place, class_name)
    known = _known(kind)
    if spec not in known:
        raise PluginError(f"{unknown(_WORD[kind], spec, known)}. A file of your own: path/to/my_{_WORD[kind]}.py")
    return known[spec]


def load_model(spec: str) -> LoadedModel:
    """Import a model by registered name, `path/to/file.py` or `path/to/file.py:ClassName`.

    Raises PluginError if there is no such plug-in, if it cannot be imported, or if it does not hold one model class.
    """
    source = _find("models", spec)
    cls = _load(source)
    return LoadedModel(source.spec, source.name, cls, _source_sha256(cls), source.origin)


def load_corpus(spec: str) -> LoadedCorpus:
    """Import a corpus adapter by registered name or path, as `load_model` does, and make its one instance."""
    loaded = _corpus(_find("datasets", spec))
    _ = loaded.source_sha256  # of the file that was loaded, whatever becomes of it later
    return loaded


def load_corpora() -> dict[str, LoadedCorpus]:
    """Every corpus that can be asked for by name, as `load_corpus` gives it, sorted by name."""
    return {name: _corpus(source) for name, source in _known("datasets").items()}


def _corpus(source: Source) -> LoadedCorpus:
    """Import an adapter and make its one instance."""
    cls = _load(source)
    try:
        corpus = cls()
    except SertbenchError:
        raise
    except plugin_import.RAISES as error:
        blamed = plugin_import.blame(source.path, _place(source), error)
        raise PluginError(f"{cls.__name__}() fails: {blamed}. It must need no arguments") from error
    return LoadedCorpus(source.spec, source.name, corpus, source.origin)


def _built_in(kind: Kind) -> list[Source]:
    """The files of the plug-in folder; those that start with an underscore are not plug-ins."""
    package = f"sertbench.{kind}"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(
            f"{package} is not to be found: Python took `sertbench` from the current folder instead of the installed "
            "one. Use the `sertbench` command, `python -P`, or another folder."
        )
    paths = sorted(Path(spec.submodule_search_locations[0]).glob("*.py"))
    importlib.invalidate_caches()  # a file may have been dropped into the folder a moment ago
    return [
        Source(path.stem, kind, path.stem, "built in", f"{package}.{path.stem}", path)
        for path in paths
        if not path.name.startswith("_")
    ]


def _installed(kind: Kind) -> list[Source]:
    """The entry points of other packages."""
    found = []
    for entry in _entry_points(f"sertbench.{kind}", tuple(sys.path)):
        origin = f"package {entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
        if entry.pattern.match(entry.value) is None:  # not package.module:Class: told when it is asked for
            found.append(Source(entry.name, kind, entry.name, origin, entry.value, None))
            continue
        path = plugin_text.locate(entry.module)
        found.append(Source(entry.name, kind, entry.name, origin, entry.module, path, entry.attr or ""))
    return found


@cache
def _entry_points(group: str, places: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of a group: each package is looked at once per process, as long as `places` stay the same."""
    del places
    return tuple(importlib.metadata.entry_points(group=group))


def _described(source: Source) -> Source:
    """A plug-in with what the text of its file tells."""
    if source.path is None:
        return source
    return replace(source, **plugin_text.facts(source.path, BASES[source.kind], source.class_name))


def _by_path(kind: Kind, place: str, class_name: str) -> Source:
    """A file given by its path. The module's name has the hash of path and content: equal stems do not collide.

    The content of the author's own files that it imports counts too: whatever is edited, it is another module.
    """
    try:
        path = Path(place).expanduser()
    except RuntimeError:
        raise PluginError(f"{_WORD[kind]} file {place} cannot be read: {UNKNOWN_USER}") from None
    try:
        path = path.resolve()
    except (RuntimeError, OSError) as error:  # links in a circle
        raise PluginError(f"{_WORD[kind]} file {place} cannot be read: {error}") from None
    if path.suffix != ".py":
        word = _WORD[kind]
        raise PluginError(f"{place} is not a Python file: a {word} is given by its name or as path/to/file.py[:Class]")
    try:
        content = b"".join(file.read_bytes() for file in (path, *plugin_text.helpers(path)))
    except OSError as error:
        raise PluginError(f"{_WORD[kind]} file {path} cannot be read: {error.strerror}") from error
    key = hashlib.sha256(str(path).encode() + b"\0" + content).hexdigest()[:16]
    spec = f"{path}:{class_name}" if class_name else str(path)
    name = f"{path.stem}.{class_name}" if class_name else path.stem
    return Source(name, kind, spec, f"file {path}", f"sertbench_local_{key}_{path.stem}", path, class_name)


def _load(source: Source) -> Any:
    """The plug-in's class."""
    module = _import(source)
    home = importlib.import_module(_HOME[source.kind])
    bases = tuple(getattr(home, base) for base in BASES[source.kind])
    accepted = " or ".join(f"{_HOME[source.kind]}.{base}" for base in BASES[source.kind])
    if source.class_name:
        cls = getattr(module, source.class_name, None)
        if not (inspect.isclass(cls) and issubclass(cls, bases)):
            raise PluginError(f"{_place(source)} has no class {source.class_name!r} that subclasses {accepted}")
    else:
        cls = _only_class(source, module, bases, accepted)
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise PluginError(f"{_place(source)}: {cls.__name__} must define {', '.join(missing)}")
    return cls


def _source_sha256(cls: type) -> str:
    """Hash of the file that defines a class, with those of the author's own that it imports."""
    file = Path(inspect.getfile(cls))
    content = [path.read_bytes() for path in (file, *plugin_text.helpers(file))]
    return hashlib.sha256(b"".join(content)).hexdigest()


def _only_class(source: Source, module: ModuleType, bases: tuple[type, ...], accepted: str) -> Any:
    """The one public subclass of `bases` that the module itself defines."""
    own = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, bases)]
    own = [c for c in dict.fromkeys(own) if c.__module__ == module.__name__ and not c.__name__.startswith("_")]
    if not own:
        raise PluginError(f"{_place(source)} defines no {_WORD[source.kind]}: subclass {accepted} there")
    if len(own) > 1:
        choices = " or ".join(f"{source.path}:{c.__name__}" for c in own)
        raise PluginError(
            f"{_place(source)} defines {len(own)} classes: name one of them, {choices}, "
            "or begin the names of the others with an underscore"
        )
    return own[0]


def _import(source: Source) -> ModuleType:
    """Import the plug-in; whatever goes wrong in it becomes one sentence with its line."""
    try:
        if source.local and source.path:
            return plugin_import.run(source.module, source.path)
        return importlib.import_module(source.module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ImportError) and source.local and source.path:
            plugin_import.refuse_helper(source.path, error)
        blamed = plugin_import.blame(source.path, _place(source), error)
        raise PluginError(f"{_WORD[source.kind]} {source.name!r} cannot be loaded: {blamed}") from error


def _place(source: Source) -> str:
    """Where a plug-in is, in words."""
    return str(source.path) if source.local else f"{source.origin} ({source.path or source.module})"
