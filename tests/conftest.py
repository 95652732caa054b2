"""Shared by all tests: nothing of the user's own is read or written."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Features and the demo corpus go to a cache of this session; a corpus of the user's is not picked up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("SERTBENCH_DATA", raising=False)
        yield
