"""The contract of plug-ins, as named checks: `sertbench check` and the project's own tests run the same functions.

A check is a function of the plug-in's class that raises `PluginError` when the contract is broken; its message speaks
to the plug-in's author: what is wrong, and what to change. A plug-in file of your own is tested in one line of pytest:

    @pytest.mark.parametrize("result", testing.check_plugin("my_model.py"), ids=lambda result: result.name)
    def test_contract(result): assert result.passed, result.message
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sertbench import plugins
from sertbench.errors import PluginError
from sertbench.plugin_import import RAISES, place, said

if TYPE_CHECKING:
    from sertbench.model import Model


@dataclass(frozen=True)
class Check:
    """One clause of the contract.

    `function` takes the plug-in's class and raises PluginError if the clause is broken. The clauses after one that is
    `needed` make no sense without it.
    """

    name: str
    function: Callable[[Any], None]
    summary: str
    needed: bool = False


@dataclass(frozen=True)
class CheckResult:
    """What came of a check; `message` is empty if it passed."""

    name: str
    passed: bool
    message: str


def model_checks(cls: Model) -> tuple[Check, ...]:
    """The clauses that apply to a model class, in the order in which they are best read."""
    from sertbench import testing_estimators, testing_networks
    from sertbench.model import Estimator

    return testing_estimators.CHECKS if issubclass(cls, Estimator) else testing_networks.checks(cls)


def corpus_checks() -> tuple[Check, ...]:
    """The clauses for a corpus adapter."""
    from sertbench import testing_corpora

    return testing_corpora.CHECKS


def checks(cls: type[Any]) -> tuple[Check, ...]:
    """The clauses that apply to a model's or a corpus's class."""
    from sertbench.corpus import Corpus

    return corpus_checks() if issubclass(cls, Corpus) else model_checks(cls)


def run_checks(cls: type[Any], announce: Callable[[Check], None] = lambda _: None) -> Iterator[CheckResult]:
    """Run all checks that apply to a class, announcing each. Stops after a needed one that fails."""
    waiting = list(checks(cls))
    while waiting:
        check = waiting.pop(0)
        announce(check)
        message = run_check(cls, check)
        if message and check.needed and waiting:
            message += f" ({len(waiting)} more checks follow once this one passes)"
        yield CheckResult(check.name, not message, message)
        if message and check.needed:
            return


def run_check(cls: Any, check: Check) -> str:
    """Run one check; gives what is wrong, or an empty string."""
    try:
        check.function(cls)
    except PluginError as broken:
        return str(broken)
    except RAISES as error:
        return f"{cls.__name__} raised {said(error)}, in {place(error)}. {check.summary}"
    return ""


def check_plugin(spec: str) -> Iterator[CheckResult]:
    """Check a model given by its name or as path/to/file.py[:Class]. PluginError if it cannot even be loaded."""
    return run_checks(plugins.load_model(spec).cls)


def check_corpus(spec: str) -> Iterator[CheckResult]:
    """Check a corpus adapter given by its name or as path/to/file.py[:Class]."""
    return run_checks(type(plugins.load_corpus(spec).corpus))
