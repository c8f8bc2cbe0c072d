"""The shipped folder of benchmarks as it lies in the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shipped() -> Path:
    return ROOT / "data"


@pytest.fixture(scope="session")
def manifest(shipped: Path) -> dict[str, Any]:
    return json.loads((shipped / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session", params=["digits", "fashion"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def facts(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    return manifest["benchmarks"][name]
