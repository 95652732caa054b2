"""What can change a fit, as far as it is code: the plug-in's file, the shared blocks that it uses, the training loop.

Code is hashed as its syntax tree without docstrings: a comment, a docstring or a new block for somebody else changes
nothing, so finished fits stay valid. Shared blocks stand in the modules `sertbench/*layers.py`. A block is followed
wherever it leads inside sertbench, also through the imports of its module.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

from sertbench import compute, network, optimisation, plugin_text, recording, training
from sertbench.plugin_text import helpers

BLOCKS = frozenset(f"sertbench.{path.stem}" for path in Path(__file__).parent.glob("*layers.py"))

Definition = tuple[str, str]  # (module, name); the name "*" stands for all that the module defines


def model_code_sha256(cls: type) -> str:
    """Hash of a model's file and of what it leads to.

    That is: the author's own files that it imports, the shared blocks that these import (and all that they lead to),
    and the loop.
    """
    return file_code_sha256(inspect.getfile(cls), cls.__module__)


@functools.cache
def file_code_sha256(file: str, module: str = "") -> str:
    """As `model_code_sha256`, for the file of a model. `module` keeps apart what a file was before it was edited."""
    del module
    own = [parse(str(path)) for path in (file, *helpers(Path(file)))]
    taken = [found for part in own for each in imports(ast.walk(part)).values() for found in each]
    used = closure(found for found in taken if found[0] in BLOCKS)
    loop = [parse(str(module.__file__)) for module in (training, network, optimisation, recording, compute)]
    code = [*own, *(used[found] for found in sorted(used)), *loop]
    return hashlib.sha256("\n".join(map(ast.dump, code)).encode()).hexdigest()


def parse(file: str) -> ast.Module:
    """A file's syntax tree without docstrings."""
    tree = plugin_text.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


def definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """The top-level statements of a module by the names that they define."""
    found: dict[str, ast.stmt] = {}
    for node in module.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        else:
            stored = (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            found |= dict.fromkeys(stored, node)
    return found


def imports(nodes: Iterable[ast.AST]) -> dict[str, set[Definition]]:
    """What the import statements among some nodes take from sertbench, by the names that they bind ("*" for all).

    A module that is imported as a whole is all of its definitions.
    """
    bound: dict[str, set[Definition]] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("sertbench."):
                    bound.setdefault(alias.asname or "sertbench", set()).add((alias.name, "*"))
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, ["sertbench" if node.level else "", node.module]))
            for alias in node.names:
                if source == "sertbench":
                    bound.setdefault(alias.asname or alias.name, set()).add((f"sertbench.{alias.name}", "*"))
                elif source.startswith("sertbench."):
                    bound.setdefault(alias.asname or alias.name, set()).add((source, alias.name))
    return bound


def file_of(module: str) -> str | None:
    """The file of a module of sertbench; None for a name that is no module."""
    spec = importlib.util.find_spec(module)
    return spec.origin if spec is not None else None


def closure(start: Iterable[Definition]) -> dict[Definition, ast.stmt]:
    """The statements that define some names, and those of every name of sertbench that they lead to."""
    trees: dict[str, ast.Module] = {}
    reached: dict[Definition, ast.stmt] = {}
    seen: set[Definition] = set()
    todo = list(start)
    while todo:
        module, name = found = todo.pop()
        if found in seen:
            continue
        seen.add(found)
        if module not in trees:
            file = file_of(module)
            trees[module] = parse(file) if file else ast.Module([], [])
        own, taken = definitions(trees[module]), imports(trees[module].body)
        if name == "*":
            todo += [(module, each) for each in own]
        elif name in own:
            reached[found] = own[name]
            todo += leads_to(own[name], module, own, taken)
        else:
            todo += taken.get(name, set()) | taken.get("*", set())  # handed on from another module
    return reached


def leads_to(
    statement: ast.stmt, module: str, own: dict[str, ast.stmt], taken: dict[str, set[Definition]]
) -> Iterator[Definition]:
    """The definitions that a statement of a module uses: the module's own, and those that it or the module imports."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id in own:
            yield module, node.id
        elif isinstance(node, ast.Name):
            yield from taken.get(node.id, taken.get("*", ()))
    for inside in imports(ast.walk(statement)).values():
        yield from inside
