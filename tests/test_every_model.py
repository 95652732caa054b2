"""Every built-in model keeps the contract of `sertbench.testing`: each model x each check."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import replace

import pytest
import torch

from sertbench import plugins, testing
from sertbench.feature_spec import columns
from sertbench.model import NeuralModel
from sertbench.testing_recipes import draws

NAMES = plugins.names("models")
CLASSES = {name: plugins.load_model(name).cls for name in NAMES}
# Large networks are checked in the slow suite; in this one the same code runs on fewer feature rows, or with fewer
# channels: (changes of the feature's settings, constructor arguments).
REDUCED = {
    "aacnn": ({"n_mfcc": 8}, {}),
    "apcnn": ({"n_bins": 24}, {}),
    "bilstm_attention": ({}, {"dense": 32, "hidden": 16}),
    "cnn14": ({}, {"channels": 4}),
    "cnn1d": ({}, {"filters": 48, "hidden": 64}),
    "cnn_lstm": ({}, {"channels": 8, "hidden": 16}),
    "conformer": ({}, {"width": 32, "layers": 2}),
    "crnn": ({}, {"channels": 16, "hidden": 16}),
    "dual_lstm": ({}, {"hidden": 16}),
    "glam": ({"n_mfcc": 8}, {}),
    "lightsernet": ({"n_mfcc": 10}, {}),
    "mhcnn": ({"n_mfcc": 8}, {}),
    "multiscale": ({"n_mfcc": 8}, {}),
    "multiscale_aa": ({"n_mfcc": 8}, {}),
    "multiscale_mha": ({"n_mfcc": 8}, {}),
    "resnet": ({}, {"channels": 8}),
    "ssl_attention": ({"hidden": 24}, {"width": 32}),
    "ssl_glam": ({"hidden": 24}, {"rows": 8}),
    "superb": ({"hidden": 24, "depth": 3}, {"width": 64}),
    "tdnn": ({}, {"channels": 64, "joined": 96, "embedding": 48}),
    "timnet": ({}, {"levels": 4}),
    "transformer": ({}, {"width": 32, "layers": 2}),
}
OF_A_CHECKPOINT = {"finetune"}  # as large as the checkpoint that it begins with
SLOW = {*REDUCED, "acrnn", "finetune"}  # tests of its own check a narrow ACRNN
CONTRACT = [
    pytest.param(name, check, id=f"{name}-{check.name}", marks=pytest.mark.slow if name in SLOW else ())
    for name, cls in CLASSES.items()
    for check in testing.model_checks(cls)
]
# Of a made-up network; many steps; emulated on most CPUs; of arguments that are fixed here; what small networks of the
# same layers are checked for.
LEFT_OUT = {"documentation", "learns", "bf16", "search_space", "no_chance", "saves"}
REDUCED_CONTRACT = [
    pytest.param(name, check, id=f"{name}-{check.name}")
    for name in REDUCED
    for check in testing.model_checks(CLASSES[name])
    if check.name not in LEFT_OUT
]
# Trainable parameters that a paper or its authors' code states: name, input shape, classes, arguments, number.
STATED = [
    ("glam", (26, 57), 4, {}, 904_078),
    ("aacnn", (26, 63), 4, {}, 151_108),
    ("mhcnn", (26, 63), 4, {}, 155_636),
    ("apcnn", (400, 197), 4, {}, 93_573),
    ("cnn14", (64, 1001), 527, {}, 80_753_615),  # PANNs, table 5
    ("resnet", (224, 224), 1000, {}, 11_689_512 - 2 * 64 * 7 * 7),  # torchvision's, with one channel for three
]
names = pytest.mark.parametrize("name", NAMES)


def parameters(name: str, shape: tuple[int, int], classes: int, **arguments: int) -> int:
    with torch.device("meta"):  # shapes alone, no memory
        model = CLASSES[name](shape, classes, **arguments)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def input_shape(cls: type[NeuralModel]) -> tuple[int, int]:
    spec, window = cls.recipe.features, cls.recipe.window
    return spec.rows, columns(spec, round(window * 16_000) if window else None)


def reduced(name: str) -> type[NeuralModel]:
    """The model with smaller defaults."""
    cls, (features, arguments) = CLASSES[name], REDUCED[name]

    def build(self: NeuralModel, input_shape: tuple[int, int], n_classes: int, **own: object) -> None:
        cls.__init__(self, input_shape, n_classes, **(own | arguments))

    build.__signature__ = inspect.signature(cls.__init__)
    recipe = replace(cls.recipe, features=replace(cls.recipe.features, **features))
    members = {"__init__": build, "recipe": recipe, "n_parameters": 0, "__module__": cls.__module__}
    return type(cls.__name__, (cls,), members)


@pytest.mark.parametrize(("name", "check"), CONTRACT)
def test_contract(name, check):
    assert testing.run_check(CLASSES[name], check) == ""


@pytest.mark.parametrize(("name", "check"), REDUCED_CONTRACT)
def test_contract_of_large_networks_made_small(name, check):
    assert testing.run_check(reduced(name), check) == ""


@pytest.mark.parametrize("name", REDUCED)
def test_large_networks_are_documented(name):
    check = next(check for check in testing.model_checks(CLASSES[name]) if check.name == "documentation")
    assert testing.run_check(CLASSES[name], check) == ""


@pytest.mark.parametrize("name", sorted(SLOW))
def test_what_large_networks_search_is_within_bounds(name):
    assert len(list(draws(CLASSES[name], 20))) == 20  # raises for a choice that nothing takes or that cannot be


@pytest.mark.parametrize(("name", "shape", "classes", "arguments", "number"), STATED)
def test_networks_have_the_stated_parameters(name, shape, classes, arguments, number):
    assert parameters(name, shape, classes, **arguments) == number


@pytest.mark.parametrize(("channels", "millions"), [(512, 6.2), (1024, 14.7)])
def test_ecapa_tdnn_is_as_large_as_its_paper_says(channels, millions):
    assert round(parameters("tdnn", (80, 0), 4, channels=channels) / 1e6, 1) == millions


def test_light_sernet_takes_the_memory_that_its_paper_says():
    assert round(2 * parameters("lightsernet", (40, 188), 4) / 2**20, 2) == 0.88  # in half precision


@names
def test_docstrings_give_the_number_of_parameters(name):
    """Where a docstring states the parameters for 4 classes, they are those of the recipe's input."""
    cls = CLASSES[name]
    stated = re.findall(r"([\d,]{5,})[^.;()]{0,40}for\s+(?:26\s+x\s+\d+\s+inputs\s+and\s+)?4\s+classes", cls.__doc__)
    if not stated:
        pytest.skip("no number in its docstring")
    assert f"{parameters(name, input_shape(cls), 4):,}" in stated


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
    assert source.n_parameters == getattr(cls, "n_parameters", 0)


@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if issubclass(cls, NeuralModel)])
def test_listing_knows_its_size_and_input(name):
    source, spec = plugins.find("models", name), CLASSES[name].recipe.features
    stated = 0 if name in OF_A_CHECKPOINT else parameters(name, input_shape(CLASSES[name]), 4)
    assert source.n_parameters == stated
    assert source.features.startswith(f"{spec.summary}, ")


def test_the_families_that_others_are_compared_with_are_there():
    assert {"glam", "cnn", "attention", "lstm"} <= set(NAMES)
