"""What the vision tests share: the shipped detector, a network camera, and where the judging photos lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.vision.onnx import OnnxDetector
from tests.edge.vision.shop_camera import MjpegServer

SHARED = Path(__file__).parents[4] / "shared" / "vision"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of judging photos, which is no part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the photos in ../shared/vision are not here ({SHARED.name})")
    return SHARED


@pytest.fixture(scope="session")
def detector() -> OnnxDetector:
    """The shipped detector, its card checked."""
    return OnnxDetector.load()


@pytest.fixture
def mjpeg() -> Iterator[MjpegServer]:
    server = MjpegServer()
    yield server
    if not server.closing.is_set():
        server.close()
