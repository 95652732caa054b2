"""What a plug-in's file says without being run: where it is, the facts that `sertbench list` shows, what it imports."""

from __future__ import annotations

import ast
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sertbench import feature_spec

UNREADABLE = "cannot be read"
UNPARSED = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)  # the last two: nested without end
# CPython 3.11 counts the depth of a tree once for all threads, and stumbles over two at once. Ours take turns; where a
# library parses in a thread of its own (torch does, while it is imported) we try again.
_parsing = threading.Lock()
_TRIES = 20


def parse(source: bytes, name: str = "<unknown>") -> ast.Module:
    """The syntax tree of a source; safe to call from many threads."""
    with _parsing:
        for _ in range(_TRIES - 1):
            with suppress(SystemError):
                return ast.parse(source, filename=name)
        return ast.parse(source, filename=name)


def locate(module: str) -> Path | None:
    """The file of a module. Unlike `importlib.util.find_spec`, this does not import the packages that it lies in."""
    parts = module.split(".")
    search, spec = None, None
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        try:
            spec = next((s for finder in sys.meta_path if (s := finder.find_spec(name, search))), None)
        except KeyError:  # a namespace package within a package that is not imported
            return None
        if spec is None:
            return None
        search = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


def facts(path: Path, bases: tuple[str, ...], class_name: str = "") -> dict[str, Any]:
    """Summary (first docstring line), paper, family, year, size and input of a plug-in class, as far as literals tell.

    The class is `class_name` or, if that is empty, the first public one that derives from `bases` within the file.
    """
    try:
        tree = parse(path.read_bytes(), path.name)
    except UNPARSED as error:
        return {"summary": f"{UNREADABLE}: {error}"}
    derived = set(bases)
    plugin = None
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or derived.isdisjoint(ast.unparse(b).split(".")[-1] for b in node.bases):
            continue
        derived.add(node.name)
        if node.name == class_name or not (class_name or plugin or node.name.startswith("_")):
            plugin = node
    if plugin is None:
        return {}
    read: dict[str, Any] = {"summary": (ast.get_docstring(plugin) or "").partition("\n")[0].strip()}
    for node in plugin.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name = getattr(target, "id", "")
        wanted = {"paper": str, "family": str, "year": int, "n_parameters": int}.get(name)
        value = getattr(node, "value", None)
        if wanted and isinstance(value, ast.Constant) and isinstance(value.value, wanted):
            read[name] = value.value
        elif name == "recipe" and isinstance(value, ast.Call):
            read["features"] = _features({k.arg: k.value for k in value.keywords}, _constants(tree))
    return read


def _features(recipe: dict[str | None, ast.expr], constants: dict[str, ast.expr]) -> str:
    """What a recipe's keywords say of a model's input: "mfcc 26, 1.8 s / 0.2 s", or nothing if it has no features."""
    asked = recipe.get("features")
    if asked is None or (isinstance(asked, ast.Constant) and asked.value is None):
        return ""
    try:
        what = _value(asked, constants).summary
        window, hop = (ast.literal_eval(recipe.get(name, ast.Constant(None))) for name in ("window", "hop"))
    except Exception:  # noqa: BLE001 - not literals, or no specification of sertbench's: listing shows what is written
        return ast.unparse(asked)
    return f"{what}, {window} s / {hop} s" if window else f"{what}, whole"


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The expressions that the top level of a file assigns to names, alone or in a tuple."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Name):
                found[target.id] = value
            elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                found |= {n.id: v for n, v in zip(target.elts, value.elts, strict=False) if isinstance(n, ast.Name)}
    return found


def _value(node: ast.expr, constants: dict[str, ast.expr]) -> Any:
    """What an expression of literals, of the file's constants and of calls of `feature_spec` stands for."""
    if isinstance(node, ast.Name):
        return _value(constants[node.id], constants)
    if isinstance(node, ast.Call):
        settings = {k.arg: _value(k.value, constants) for k in node.keywords if k.arg}
        make = getattr(feature_spec, ast.unparse(node.func).rpartition(".")[2])
        return make(*(_value(argument, constants) for argument in node.args), **settings)
    return ast.literal_eval(node)


def short(paper: str) -> str:
    """Authors and venue of "Authors, title, venue year".

    >>> short("Zhu & Li, Global-Aware Fusion, ICASSP 2022")
    'Zhu & Li, ICASSP 2022'
    >>> short("Ma, Ng, Ho & Yu, One, Two, Three, ICASSP 2022")
    'Ma et al., ICASSP 2022'
    """
    parts = paper.split(", ")
    if len(parts) < 3:
        return paper
    several = "&" not in parts[0] and any(" & " in part and len(part.split()) <= 5 for part in parts[1:5])
    return f"{parts[0]}{' et al.' if several else ''}, {parts[-1]}"


def helpers(file: Path) -> tuple[Path, ...]:
    """The files of the author's own that a plug-in's file imports, and theirs: beside it, or in its package.

    sertbench's own modules and other packages are none of them. What is imported by name at run time (importlib) and
    what lies beside a single module in site-packages is not seen.
    """
    found: dict[Path, None] = {}
    todo = [file]
    while todo:
        for path in _imported_files(todo.pop()):
            if path != file and path not in found:
                found[path] = None
                todo.append(path)
    return tuple(sorted(found))


def _imported_files(file: Path) -> set[Path]:
    """The files of the author's own that a file imports, as far as its import statements tell."""
    try:
        statements = _import_statements(file.read_bytes())
    except UNPARSED:
        return set()
    found: set[Path] = set()
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= _modules(_folder_of(file, alias.name), alias.name)
        else:
            module = node.module or ""
            folder = _folder_of(file, module)
            if node.level:
                folder = file.parents[node.level - 1]
                if (folder / "__init__.py").is_file():
                    found.add(folder / "__init__.py")
            for alias in node.names:  # the name may be a module of the package
                found |= _modules(folder, f"{module}.{alias.name}".strip("."))
    return found


@lru_cache(1024)
def _import_statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a source, which is parsed once: a model is loaded several times for each fit."""
    return tuple(node for node in ast.walk(parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom)))


def _folder_of(file: Path, module: str) -> Path | None:
    """Where an absolute import of the author's own starts: the package's place, or beside the file; None elsewhere."""
    top = file.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    first = module.partition(".")[0]
    if top != file.parent and first == file.relative_to(top).parts[0] != "sertbench":
        return top
    foreign = first in sys.stdlib_module_names or first == "sertbench" or file.parent.name.endswith("-packages")
    return None if foreign else file.parent


def _modules(folder: Path | None, name: str) -> set[Path]:
    """The files of a module below a folder and of the packages on the way to it, as far as they are there."""
    found = set()
    parts = name.split(".") if folder else []
    for depth in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:depth])  # type: ignore[union-attr]  # no folder, no parts
        found |= {path for path in (place / "__init__.py", place.parent / f"{place.name}.py") if path.is_file()}
    return found
