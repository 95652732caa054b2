"""Every built-in model keeps the contract of `sertbench.testing`: each model x each check."""

from __future__ import annotations

import ast
import sys

import pytest

from sertbench import plugins, testing

NAMES = plugins.names("models")
CLASSES = {name: plugins.load_model(name).cls for name in NAMES}
# A training step of ACRNN takes most of a minute on a CPU; tests of its own check a narrow version. CNN-LSTM learns 16
# images of 8 s by heart in half a minute.
SLOW = {("acrnn", check.name) for check in testing.model_checks(CLASSES["acrnn"])} | {("cnn_lstm", "learns")}
CONTRACT = [
    pytest.param(name, check, id=f"{name}-{check.name}", marks=[pytest.mark.slow] * ((name, check.name) in SLOW))
    for name, cls in CLASSES.items()
    for check in testing.model_checks(cls)
]
names = pytest.mark.parametrize("name", NAMES)


@pytest.mark.parametrize(("name", "check"), CONTRACT)
def test_contract(name, check):
    assert testing.run_check(CLASSES[name], check) == ""


@names
def test_file_is_short_and_imports_only_what_it_may(name):
    path = plugins.find("models", name).path
    text = path.read_text()
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    roots = {module.split(".")[0] for module in imported}
    assert len(text.splitlines()) < 150
    assert not any(module.startswith("sertbench.models") for module in imported), "plug-ins never import each other"
    assert roots - set(sys.stdlib_module_names) <= {"numpy", "optuna", "scipy", "sertbench", "sklearn", "torch"}


@names
def test_listing_knows_it_without_importing(name):
    source = plugins.find("models", name)
    cls = CLASSES[name]
    assert source.summary == cls.__doc__.splitlines()[0]
    assert (source.paper, source.family, source.year) == (cls.paper, cls.family, cls.year)


def test_the_families_that_others_are_compared_with_are_there():
    assert {"glam", "cnn", "attention", "lstm"} <= set(NAMES)
