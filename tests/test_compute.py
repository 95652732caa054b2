"""Devices and precisions: "auto" is resolved, what cannot be is refused in a sentence."""

from __future__ import annotations

import pytest
import torch

from sertbench.compute import Compute, multiplies_bf16, resolve_device, resolve_precision, settle, unfilled
from sertbench.errors import ConfigError
from sertbench.testing_sounds import as_in_a_fit


def test_devices_and_precisions_are_resolved_or_refused() -> None:
    assert resolve_precision("fp32", "cpu") == "fp32"
    assert resolve_precision("auto", "cpu") in {"fp32", "bf16"}
    with pytest.raises(ConfigError, match="no precision is called 'fp17'"):
        resolve_precision("fp17", "cpu")
    with pytest.raises(ConfigError, match="no device is called 'gpu'"):
        resolve_device("gpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Compute.resolve("auto", "fp32") == Compute("cpu", "fp32")
    with pytest.raises(ConfigError, match=r"finds no CUDA device here\. Use --device cpu or auto"):
        resolve_device("cuda")


def test_bf16_is_refused_where_the_cpu_would_only_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert not multiplies_bf16("cpu")
    assert resolve_precision("auto", "cpu") == "fp32"
    with pytest.raises(ConfigError, match=r"this CPU does not multiply bfloat16 itself.*Use --precision auto or fp32"):
        resolve_precision("bf16", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert resolve_precision("auto", "cpu") == resolve_precision("bf16", "cpu") == "bf16"


def test_a_settled_process_computes_as_fits_do() -> None:
    with as_in_a_fit():  # puts back what it finds
        torch.set_num_threads(2)
        torch.use_deterministic_algorithms(False)
        settle("cpu")
        settle("cpu")
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.empty(9).isnan().all()  # a weight that nobody initialises is noticed


def test_new_tensors_are_filled_again_after_a_step_that_failed() -> None:
    def fail() -> None:
        raise KeyError

    with as_in_a_fit():
        with pytest.raises(KeyError):
            unfilled()(fail)()
        assert torch.empty(9).isnan().all()


def test_a_step_does_not_fill_new_tensors() -> None:
    with unfilled():
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
