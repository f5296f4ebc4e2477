"""Each step finds what is wrong: a step that can only say `ok` proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from rich.console import Console

from edge.clock import ManualClock, SystemClock
from edge.commission import keep_baseline
from edge.commissioning import devices, eyes, products, report, scales, uplink
from edge.commissioning.person import Answers, Nobody, read_answers
from edge.commissioning.place import Place
from edge.commissioning.state import Chest, Done, Outcome, Run
from edge.commissioning.steps import go_on, steps_of
from edge.documents import Documents
from edge.errors import ConfigError
from edge.finds import Choice, Find
from edge.finds import Place as Socket
from edge.identity.files import Store
from edge.profile import load_profile
from edge.readings import Reading, no_value
from edge.sim.shelves import shelf_of
from edge.uplink.session import Address
from edge.vision.onnx import OnnxDetector
from edge.vision.propose import propose
from edge.vision.tiles import look
from tests.cloud_ingest.pki.world import World, world_in
from tests.conftest import Broker
from tests.edge.commissioning.shops import write_profile
from tests.edge.vision.goods import Goods, packs, render

SHELF = shelf_of(31)


class Told:
    """A sensor that tells the same readings for ever."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = readings

    def read(self) -> tuple[Reading, ...]:
        return self._readings

    def close(self) -> None:
        """Nothing is open."""


Telling = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A box whose sensors tell what a test says."""
    profile = write_profile(tmp_path / "shop.toml", tmp_path / "box", 9, tls=False)
    return Place(tmp_path / "shop.toml", profile, SystemClock(), Nobody(Console(quiet=True)), Answers(),
                 Documents(tmp_path / "box"), "1", patience_s=0.01)


@pytest.fixture
def tells(monkeypatch: pytest.MonkeyPatch) -> Telling:
    """Let every sensor tell these readings."""
    def tell(*readings: Reading) -> None:
        for module in ("place", "devices"):
            monkeypatch.setattr(f"edge.commissioning.{module}.open_driver", lambda *_: Told(*readings))
    return tell


def kg(weight: str) -> Reading:
    return Reading("scale-1", "weight", 1.0, Decimal(weight), "kg")


@pytest.mark.parametrize(("shows", "state"), [("0.000", "ok"), ("0.005", "ok"), ("0.120", "warning"),
                                              ("-0.050", "warning")])
def test_a_scale_that_does_not_show_zero_when_empty_is_found(place: Place, tells: Telling, shows: str, state: str,
                                                             ) -> None:
    tells(kg(shows))
    assert scales.zero(place.profile.sensors[0], place).state == state


def test_a_scale_that_shows_nothing_stable_is_no_zero(place: Place, tells: Telling) -> None:
    tells(Reading("scale-1", "weight", 1.0, None, "kg", "unstable"))
    outcome = scales.zero(place.profile.sensors[0], place)
    assert (outcome.state, outcome.found) == ("warning", "scale-1 showed no stable weight")
    assert place.documents.kept("calibrations", "scale-1") is None


@pytest.mark.parametrize(("shows", "state"), [("1.000", "ok"), ("1.005", "ok"), ("1.020", "warning")])
def test_a_known_weight_is_shown_or_the_scale_needs_a_calibration(place: Place, tells: Telling, shows: str, state: str,
                                                                  ) -> None:
    place.answers = Answers(known_weight="1 kg")
    tells(kg(shows))
    assert scales.known(place.profile.sensors[0], place).state == state


def test_a_weight_that_is_none_is_told_with_the_units(place: Place) -> None:
    place.answers = Answers(known_weight="heavy")
    with pytest.raises(ConfigError, match=r"write a number, a space and one of"):
        scales.known(place.profile.sensors[0], place)


def test_an_item_weight_that_the_profile_has_wrong_is_told_with_the_right_one(place: Place, tells: Telling) -> None:
    place.answers = Answers(units={"A1": 4})
    tells(kg("1.200"))
    outcome = scales.item(place.profile.sensors[0], place.profile.slots[0], place)
    assert outcome.state == "warning"
    assert 'item_weight = "0.3000 kg"' in outcome.fix


@pytest.mark.parametrize(("reading", "state"), [
    (Reading("fridge-1", "temperature", 1.0, Decimal("4.0"), "Cel"), "ok"),
    (Reading("fridge-1", "temperature", 1.0, Decimal("403.0"), "Cel"), "warning"),
    (Reading("fridge-1", "humidity", 1.0, Decimal(0), "%RH"), "warning"),
    (no_value("fridge-1", "temperature", 1.0, "no_answer", "Cel"), "warning"),
])
def test_a_value_that_no_shop_has_is_found(place: Place, tells: Telling, reading: Reading, state: str) -> None:
    tells(reading)
    assert devices.plausible(place.profile.sensors[1], place).state == state


def alike(place: Place) -> list[Find]:
    port = place.profile.sensors[1].port
    return [Find(Socket(port, port), tuple(
        Choice("one", "modbus", device, "", "", "", {"driver": "modbus", "device": device, "address": 1})
        for device in ("xy-md02", "md02-hundredths")))]


def test_a_probe_with_look_alikes_that_does_not_answer_to_breath_is_left_as_a_warning(place: Place, tells: Telling,
                                                                                      ) -> None:
    tells(Reading("fridge-1", "temperature", 1.0, Decimal("4.0"), "Cel"))
    place.finds = alike(place)
    outcome = devices.breath(place.profile.sensors[1], place)
    assert (outcome.state, outcome.learned["alike"]) == ("warning", ["xy-md02", "md02-hundredths"])
    place.answers = Answers(confirmed=("fridge-1",))
    assert devices.breath(place.profile.sensors[1], place).state == "ok"


def test_look_alikes_are_known_again_after_a_power_cut(place: Place) -> None:
    find = alike(place)[0]
    place.documents.keep("inventory", find.place.name, {**find.as_dict(), "run": place.run})
    assert devices.breath(place.profile.sensors[0], place).state == "skipped"
    place.answers = Answers(confirmed=("fridge-1",))
    assert devices.breath(place.profile.sensors[1], place).found.startswith("one of 2 look-alikes")


def test_a_door_that_stays_as_it_is_is_told(place: Place, tells: Telling) -> None:
    tells(Reading("door-1", "open", 1.0, value=False))
    outcome = devices.door(place.profile.sensors[2], "open", place)
    assert (outcome.state, outcome.found) == ("warning", "it stayed closed")


def test_a_device_that_is_not_behind_its_port_is_missed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "look_behind", lambda socket, *_, **__: Find(socket, (), "nothing answers"))
    place.other_ports = False
    outcome = devices.ports(place)
    assert outcome.state == "warning"
    assert outcome.learned["missing"] == ["scale-1", "fridge-1", "door-1"]


FULL = render(SHELF, {slot.name: slot.capacity for slot in SHELF})


@pytest.mark.parametrize(("image", "reason"), [
    (FULL, "ok"),
    (np.asarray(cv2.GaussianBlur(FULL, (0, 0), 4), np.uint8), "defocused"),
    (np.asarray(FULL // 20, np.uint8), "dark"),
    (np.full_like(FULL, 128), "covered"),
])
def test_the_score_of_a_picture_names_what_is_wrong_with_it(image: np.ndarray, reason: str) -> None:
    assert eyes.score(image).verdict.reason == reason
    assert str(eyes.score(image)).startswith("good" if reason == "ok" else reason)  # a screen has 80 columns


CATALOGUE = "gtin,name\n5000112637922,Cola 0.5 l\n5449000000996,Tomato soup\n7622210449283,Tomato ketchup\n"


def test_a_product_is_found_by_barcode_by_its_last_digits_and_by_words(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(CATALOGUE)
    catalogue = products.read_catalogue(tmp_path / "c.csv")
    assert [each.name for each in products.search(catalogue, "05449000000996")] == ["Tomato soup"]
    assert [each.name for each in products.search(catalogue, "7922")] == ["Cola 0.5 l"]
    assert [each.name for each in products.search(catalogue, "tomato")] == ["Tomato soup", "Tomato ketchup"]
    assert [each.name for each in products.search(catalogue, "KETCHUP tom")] == ["Tomato ketchup"]
    assert products.search(catalogue, "4006381333931") == ()


def test_a_catalogue_with_mistyped_barcodes_is_refused_with_every_line(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(CATALOGUE + "5000112637923,x\n12,y\n")
    with pytest.raises(ConfigError) as told:
        products.read_catalogue(tmp_path / "c.csv")
    assert [each.key for each in told.value.problems] == ["line 5", "line 6"]


def test_proposed_slots_are_named_from_the_catalogue_and_come_into_the_profile(
        place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxDetector, "load", lambda *_, **__: Goods(np.concatenate(list(packs(SHELF).values()))))
    (tmp_path / "c.csv").write_text(CATALOGUE)
    text = place.path.read_text()
    place.path.write_text(text[:text.index('[[slots]]\nname = "B1"')])
    place.profile = load_profile(place.path)
    keep_baseline(place.data, "cam-1", FULL, (), 1.0)
    names = [each.region.slot for each in propose(FULL, look(OnnxDetector.load(Path("x")), FULL))]
    place.answers = Answers(catalogue=str(tmp_path / "c.csv"), skus=dict.fromkeys(names[1:], "ketchup") | {
        names[0]: "5000112637922"})
    outcome = eyes.slots(place.profile.cameras[0], place)
    assert outcome.state == "ok", outcome
    slots = [slot for slot in load_profile(place.path).slots if slot.camera == "cam-1"]
    assert [slot.name for slot in slots] == [f"cam-1-{name}" for name in names]
    assert (slots[0].sku, slots[0].product, slots[1].sku) == ("5000112637922", "Cola 0.5 l", "7622210449283")
    assert place.profile == load_profile(place.path)


def test_a_broker_that_takes_a_foreign_topic_is_told(place: Place, broker: Broker) -> None:
    place.patience_s = 10.0
    outcome = uplink.kept_apart(Address("shop-1", broker.host, broker.port, visitor=True), place)
    assert outcome.state == "warning"
    assert "took a message for another device's topic" in outcome.found


def test_answers_that_nobody_asks_for_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('by = "x"\nlabels = "y"\n')
    with pytest.raises(ConfigError, match=r"labels.*known: by, label, server"):
        read_answers(tmp_path / "a.toml")


def test_a_step_that_is_skipped_is_not_run_and_stands_in_the_report(place: Place) -> None:
    place.answers = Answers(skip=tuple(step.name for step in steps_of(place.profile)))
    chest = Chest(place.documents)
    run = chest.take_up("shop-1", "x", 1.0, anew=False)
    for _, after in go_on(run, chest, place):
        run = after
    assert {each.outcome.state for each in run.steps} == {"skipped"}
    assert chest.take_up("shop-1", "", 2.0, anew=False).by == "x"
    assert chest.take_up("shop-1", "", 2.0, anew=True).steps == ()


RUN = Run("ab" * 16, "shop-1", "<b>A. Fitter</b>", 1.0, steps=(
    Done("clock", "the clock", 2.0, 0.1, Outcome("warning", "<script>alert(1)</script>", "set it")),))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An authority without a broker."""
    with world_in(tmp_path, None) as world:
        yield world


def test_a_report_is_the_same_for_the_same_run_and_its_page_shows_words_as_words(place: Place, world: World) -> None:
    identity = world.given("shop-1")
    assert report.build(RUN, place.profile) == report.build(RUN, place.profile)
    signed = report.write(RUN, place.profile, identity, place.folder)
    assert signed is not None
    page = (place.folder / "report.html").read_text()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "1 warning left" in page


def test_a_report_goes_up_in_pieces_that_a_record_can_hold() -> None:
    content = "".join(map(str, range(2000)))
    facts = report.facts(RUN, content, ManualClock(5.0).now())
    assert all(isinstance(each.value, str) and len(each.value) <= 1000 for each in facts)
    pieces = [str(each.value) for each in facts if each.name == report.NAME]
    assert len(pieces) > 3
    assert "".join(piece.split(" ", 2)[2] for piece in pieces) == content
    assert msgspec.json.decode(msgspec.json.encode(RUN), type=Run) == RUN


def test_a_new_label_is_taken_though_there_is_a_certificate_and_the_same_one_is_not(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "shop.toml", tmp_path / "box", 9, tls=True)
    store = Store(profile.device.identity)

    def serial_with(label: str) -> int:
        place = Place(tmp_path / "shop.toml", profile, SystemClock(), Nobody(Console(quiet=True)),
                      Answers(label=label), Documents(tmp_path / "box"), "1", patience_s=0.01)
        assert uplink.identity(place).state == "ok"
        identity = store.read(store.current)
        assert identity is not None
        return identity.certificate.serial_number

    with world_in(tmp_path / "world", None) as world:
        label = str(world.invite("shop-1"))
        first = serial_with(label)
        assert serial_with(label) == serial_with("") == first
        world.desk.revoke("shop-1", "it was stolen, and came back")
        assert serial_with(str(world.invite("shop-1"))) != first
