"""What can change a fit, as far as it is code: the plug-in's file, the shared blocks that it uses, the training loop.

Code is hashed as its syntax tree without docstrings: a comment, a docstring or a new block for somebody else changes
nothing, so finished fits stay valid. Shared blocks stand in the modules `sertbench/*layers.py`; a block's name occurs
once in all of them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from pathlib import Path

from sertbench import compute, training
from sertbench.plugin_text import helpers

# Modules of shared blocks -> their files.
BLOCKS = {f"sertbench.{path.stem}": str(path) for path in sorted(Path(__file__).parent.glob("*layers.py"))}


def model_code_sha256(cls: type) -> str:
    """Hash of a model's file and of what it leads to.

    That is: the author's own files that it imports, the shared blocks that these import (and theirs), and the loop.
    """
    return file_code_sha256(inspect.getfile(cls), cls.__module__)


@functools.cache
def file_code_sha256(file: str, module: str = "") -> str:
    """As `model_code_sha256`, for the file of a model. `module` keeps apart what a file was before it was edited."""
    del module
    own = [parse(str(path)) for path in (file, *helpers(Path(file)))]
    modules = {name: definitions(parse(path)) for name, path in BLOCKS.items()}
    shared = {name: code for blocks in modules.values() for name, code in blocks.items()}
    names = {name: set(blocks) for name, blocks in modules.items()}
    used = closure(set().union(*(imported_blocks(part, names) for part in own)), shared)
    loop = [parse(str(module.__file__)) for module in (training, compute)]
    code = [*own, *(shared[name] for name in sorted(used)), *loop]
    return hashlib.sha256("\n".join(map(ast.dump, code)).encode()).hexdigest()


def parse(file: str) -> ast.Module:
    """A file's syntax tree without docstrings."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


def definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """The top-level statements of a module by the names that they define; imports under the name that they bind."""
    found: dict[str, ast.stmt] = {}
    for node in module.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        else:
            stored = (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            found |= dict.fromkeys(stored, node)
    return found


def imported_blocks(plugin: ast.Module, known: dict[str, set[str]]) -> set[str]:
    """The names that a plug-in takes from modules of shared blocks; all of a module that it imports as a whole."""
    names: set[str] = set()
    for node in ast.walk(plugin):
        if isinstance(node, ast.ImportFrom) and node.module in known:
            blocks = known[node.module]
            names |= blocks if node.names[0].name == "*" else blocks & {alias.name for alias in node.names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                names |= known.get(package + alias.name, set())
    return names


def closure(names: set[str], known: dict[str, ast.stmt]) -> set[str]:
    """The names, and every known name that they lead to."""
    reached: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [n.id for n in ast.walk(known[name]) if isinstance(n, ast.Name) and n.id in known]
    return reached
