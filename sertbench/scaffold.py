"""New plug-ins from a template: a small one that works, with comments, and its test."""

from __future__ import annotations

import importlib.util
import keyword
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal

from sertbench import plugins
from sertbench.errors import ConfigError

Kind = Literal["model", "corpus"]


def write(kind: Kind, name: str, folder: Path) -> tuple[Path, Path]:
    """Write NAME.py and test_NAME.py; gives their paths. Nothing is ever overwritten.

    Raises ConfigError for a name that cannot be, or that is taken.
    """
    refuse_name(kind, name)
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} is there already, and is not overwritten: choose another name, or --dir")
    refuse_hiding(name)
    words = {"name": name, "class_name": class_name(name), "year": datetime.now(UTC).year}
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in zip(paths, (f"{kind}.py.txt", f"test_{kind}.py.txt"), strict=True):
        text = resources.files("sertbench").joinpath("assets", template).read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
    return paths


def class_name(name: str) -> str:
    """The class of a plug-in.

    >>> class_name("my_small_net"), class_name("GLAM2")
    ('MySmallNet', 'GLAM2')
    """
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) or name


def refuse_name(kind: Kind, name: str) -> None:
    """ConfigError unless the name can be that of a plug-in's file."""
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name.startswith(("_", "test_")):
        raise ConfigError(
            f"{name!r} cannot be the name of a {kind}: it becomes a Python file and a name to type. Use letters, "
            f"digits and underscores, beginning with a letter, e.g. my_{kind}"
        )


def refuse_hiding(name: str) -> None:
    """ConfigError for a name that another plug-in, or a Python package, has already."""
    for source in (plugins.sources("models").get(name), plugins.sources("datasets").get(name)):
        if source:
            what = f"{source.kind.removesuffix('s')} {name} ({source.origin})"
            raise ConfigError(f"{name!r} is taken by {what}. Choose another name, e.g. my_{name}")
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"{name}.py would hide the Python package {name!r} from whatever runs beside it. Choose another name, "
            f"e.g. my_{name}"
        )
