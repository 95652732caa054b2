"""What a plug-in's file says without being run: where it is, and the facts that `sertbench list` shows."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any


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
    """Summary (first docstring line), paper, family and year of a plug-in class, as far as literals tell.

    The class is `class_name` or, if that is empty, the first public one that derives from `bases` within the file.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=path.name)
    except (OSError, SyntaxError, ValueError) as error:
        return {"summary": f"cannot be read: {error}"}
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
        wanted = {"paper": str, "family": str, "year": int}.get(getattr(target, "id", ""))
        value = getattr(node, "value", None)
        if wanted and isinstance(value, ast.Constant) and isinstance(value.value, wanted):
            read[target.id] = value.value  # type: ignore[union-attr]  # `wanted` says that it is an ast.Name
    return read
