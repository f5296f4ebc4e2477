"""The commissioning picture is kept with its document, and nothing else than what was kept is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from edge.commission import keep_baseline, kept_picture, load_baseline, regions_of
from edge.documents import Documents
from edge.errors import StoreError
from edge.profile import load_profile
from edge.vision.observe import Stand
from tests.edge.vision.goods import Blind

DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
STANDS = (Stand("A1", 0.1, 0.1, 0.9, 0.9, 6, 2),)
PICTURE = np.random.default_rng(1).integers(0, 255, (72, 96, 3), np.uint8)


def test_a_kept_picture_comes_back_to_the_pixel_with_its_slots(tmp_path: Path) -> None:
    keep_baseline(tmp_path, "cam-1", PICTURE, STANDS, at=1_800_000_000.0)
    kept = kept_picture(tmp_path, "cam-1")
    assert kept is not None
    np.testing.assert_array_equal(kept, PICTURE)
    document = Documents(tmp_path).baseline("cam-1")
    assert document is not None
    assert document["at"] == 1_800_000_000.0
    assert document["slots"] == [{"slot": "A1", "region": [0.1, 0.1, 0.9, 0.9], "facings": 6, "depth": 2}]


def test_a_new_picture_replaces_the_old_one(tmp_path: Path) -> None:
    keep_baseline(tmp_path, "cam-1", PICTURE, STANDS, at=1.0)
    keep_baseline(tmp_path, "cam-2", PICTURE, STANDS, at=2.0)
    keep_baseline(tmp_path, "cam-1", 255 - PICTURE, STANDS, at=3.0)
    kept = kept_picture(tmp_path, "cam-1")
    assert kept is not None
    np.testing.assert_array_equal(kept, 255 - PICTURE)
    assert (Documents(tmp_path).baseline("cam-2") or {})["at"] == 2.0


@pytest.mark.parametrize("harm", [b"", b"not a picture", None])
def test_a_picture_that_is_not_the_kept_one_is_told_and_not_used(tmp_path: Path, harm: bytes | None) -> None:
    file = keep_baseline(tmp_path, "cam-1", PICTURE, STANDS, at=1.0)
    if harm is None:
        file.unlink()
    else:
        file.write_bytes(harm)
    with capture_logs() as logs:
        assert load_baseline(tmp_path, "cam-1", STANDS, Blind()) is None
    assert [(each["event"], each["camera"]) for each in logs] == [("baseline_unusable", "cam-1")]


def test_a_camera_that_was_not_commissioned_has_no_baseline(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert load_baseline(tmp_path, "cam-1", STANDS, Blind()) is None
        keep_baseline(tmp_path, "cam-1", PICTURE, STANDS, at=1.0)
        assert load_baseline(tmp_path, "cam-2", STANDS, Blind()) is None
        assert load_baseline(tmp_path, "cam-1", (), Blind()) is None
    assert logs == []


def test_a_folder_that_takes_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "baseline").write_text("in the way")
    with pytest.raises(StoreError, match="writable"):
        keep_baseline(tmp_path, "cam-1", PICTURE, STANDS, at=1.0)


def test_a_profiles_slots_stand_in_its_cameras_picture() -> None:
    profile = load_profile(DEMO)
    stands = regions_of("cam-1", profile)
    assert [(stand.slot, stand.facings, stand.depth) for stand in stands] == [
        (slot.name, slot.capacity, 1) for slot in profile.slots if slot.camera]
    assert regions_of("cam-9", profile) == ()
