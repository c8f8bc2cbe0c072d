"""What the tests of files share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files need not survive a power cut; `test_atomic` watches the calls."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
