"""A profile says what is wrong with it: all of it, with the key and the fix."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from edge.errors import ConfigError
from edge.profile import load_profile, schema, to_kilograms
from edge.wizard import Answers, write

CONFIGS = Path(__file__).parents[2] / "firmware_configs"
DEMO = CONFIGS / "shops" / "demo.toml"


def broken(tmp_path: Path, old: str, new: str) -> ConfigError:
    """The error of the demo's profile after one edit."""
    text = DEMO.read_text()
    assert old in text
    path = tmp_path / "shop.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_the_demo_is_valid_and_its_ports_lie_under_its_data() -> None:
    profile = load_profile(DEMO)
    assert profile.sensors[0].port == str(profile.device.data.absolute() / "pty/scale-1")
    assert profile.slots[0].item_weight_kg == Decimal("0.250")
    assert [slot.source for slot in profile.slots[:2]] == ["scale-1/weight", "cam-1/facings/B1"]


@pytest.mark.parametrize(("old", "new", "key", "says"), [
    ("item_weight", "item_wieght", "slots[0].item_wieght", "did you mean item_weight?"),
    ("period_s = 0.25", "periods = 0.25", "sensors[0].periods", "not a known key"),
    ('"0.250 kg"', '"0.250 kilo"', "slots[0].item_weight", "one of kg, g, lb, oz"),
    ('unit = "kg"', 'unit = "stone"', "sensors[0].unit", "'kg'"),
    ('driver = "toledo-8217"', 'driver = "tolledo"', "sensors[0]", "toledo-8217"),
    ("4006381333931", "4006381333932", "slots[0].sku", "last digit should be 1"),
    ('scale = "scale-1"', 'scale = "scale-9"', "slots[0].scale", "known: scale-1"),
    ('name = "fridge-1"', 'name = "scale-1"', "sensors", "2 are named scale-1"),
    ("region = [0.02, 0.05, 0.49, 0.49]", "region = [0.5, 0.05, 0.49, 0.49]", "slots[1].region", "turned over"),
    ("port = 18830", "port = 188300", "uplink.port", "65535"),
    ("capacity = 24", "", "slots[0].capacity", "is missing"),
])
def test_a_mistake_is_named_with_its_key_and_fix(tmp_path: Path, old: str, new: str, key: str, says: str) -> None:
    error = broken(tmp_path, old, new)
    assert [problem.key for problem in error.problems] == [key] or key in str(error.problems[0])
    assert says in str(error)


def test_two_slots_on_one_pan_are_refused(tmp_path: Path) -> None:
    error = broken(tmp_path, 'camera = "cam-1"\nregion = [0.02, 0.05, 0.49, 0.49]',
                   'scale = "scale-1"\nitem_weight = "0.5 kg"')
    assert "slots A1 and B1 share one pan" in str(error)


@pytest.mark.parametrize(("region", "told"), [
    ("[0.25, 0.05, 0.98, 0.49]", True),  # 0.24 of B1's width, which is 0.47
    ("[0.26, 0.05, 0.98, 0.49]", False),
    ("[0.10, 0.10, 0.20, 0.20]", True),
    ("[0.49, 0.05, 0.98, 0.49]", False),
])
def test_two_regions_that_are_mostly_one_are_refused(tmp_path: Path, region: str, told: bool) -> None:
    path = tmp_path / "shop.toml"
    text = DEMO.read_text().replace("[0.51, 0.05, 0.98, 0.49]", region, 1)
    path.write_text(text)
    if not told:
        assert load_profile(path).slots
        return
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert [problem.key for problem in caught.value.problems] == ["slots[2].region"]
    assert "slots B1 and B2" in str(caught.value)
    assert "same goods" in str(caught.value)
    other = '[[cameras]]\nname = "cam-2"\nsource = "rtsp://127.0.0.1/2"\n\n[[cameras]]'
    path.write_text(text.replace("[[cameras]]", other, 1).replace('camera = "cam-1"', 'camera = "cam-2"', 1))
    assert load_profile(path).slots, "another camera sees other goods"


def test_a_slot_may_have_a_scale_and_a_camera_but_not_neither(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    both = 'scale = "scale-1"\ncamera = "cam-1"\nregion = [0.1, 0.98, 0.2, 1.0]\ndepth = 4\n'
    path.write_text(DEMO.read_text().replace('scale = "scale-1"\n', both, 1))
    slot = load_profile(path).slots[0]
    assert (slot.source, slot.view, slot.facings) == ("scale-1/weight", "cam-1/facings/A1", 6)
    error = broken(tmp_path, 'scale = "scale-1"\n', "")
    assert [problem.key for problem in error.problems] == ["slots[0]"]
    assert "nothing that watches it" in str(error)
    error = broken(tmp_path, 'scale = "scale-1"\n', 'scale = "scale-1"\ncamera = "cam-9"\n')
    assert {problem.key for problem in error.problems} == {"slots[0].camera", "slots[0].region"}


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace("4006381333931", "4006381333932").replace("capacity = 5", "capacity = 0"))
    with pytest.raises(ConfigError, match="2 problems"):
        load_profile(path)


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cornergrid-edge init"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[device\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_profile(tmp_path / "bad.toml")


@pytest.mark.parametrize(("text", "kg"), [("250 g", "0.250"), ("1 lb", "0.45359237"), ("0.250 kg", "0.250")])
def test_weights_are_exact(text: str, kg: str) -> None:
    assert to_kilograms(text) == Decimal(kg)


def test_the_published_schema_is_the_types_and_judges_the_demo() -> None:
    published = CONFIGS / "profile.schema.json"
    assert published.read_text() == schema(), "remake it: cornergrid-edge schema > firmware_configs/profile.schema.json"
    jsonschema.validate(tomllib.loads(DEMO.read_text()), json.loads(schema()))


def test_the_wizard_writes_what_loads(tmp_path: Path) -> None:
    path = tmp_path / "made.toml"
    write(Answers("shop-7", "broker.example:1884", str(tmp_path), "/dev/ttyUSB0", "4006381333931", "0.250 kg",
                  "/dev/ttyUSB1", "rtsp://cam/shelf", "5000112637922"), path)
    profile = load_profile(path)
    assert (profile.uplink.host, profile.uplink.port) == ("broker.example", 1884)
    assert [slot.source for slot in profile.slots] == ["scale-1/weight", "cam-1/facings/B1"]


def test_the_wizard_writes_nothing_from_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "made.toml"
    with pytest.raises(ConfigError, match=r"uplink\.port"):
        write(Answers("shop-7", "broker:many", str(tmp_path)), path)
    assert not path.exists()
