"""What several sensors' tests share: one serial adapter that can be pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.sensors.serial_bench import Adapter


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    adapter = Adapter(tmp_path / "scale")
    yield adapter
    adapter.unplug()
