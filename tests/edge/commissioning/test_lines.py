"""A profile made of what was found: what is there stays, what is missing is proposed, a wrong answer is asked again."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.commissioning import begin, devices, lines, scales
from edge.commissioning.person import Answers, Person, Thing, read_answers
from edge.commissioning.place import Place
from edge.documents import Documents
from edge.errors import ConfigError
from edge.finds import Choice, Find
from edge.finds import Place as Socket
from edge.profile import Profile, load_profile
from edge.readings import Reading
from edge.wire.enrol import ALPHABET, Label

SCALE, LINE = "/dev/serial/by-id/usb-scale", "/dev/serial/by-id/usb-line"
FOUND = Find(Socket(SCALE, SCALE), (Choice(SCALE, "scale", "Toledo 8217", "0.000 kg", "", "", {
    "driver": "toledo-8217", "port": SCALE, "unit": "kg"}),))
ON_LINE = Find(Socket(LINE, LINE), (
    *(Choice("one", "modbus", f"{make}, address 1", f"temperature {t} Cel", "", "", {
        "driver": "modbus", "port": LINE, "device": make, "address": 1})
      for make, t in (("xy-md02", "4.0"), ("md02-hundredths", "0.40"))),
    Choice("two", "modbus", "Waveshare, address 2", "input-1 False", "", "", {
        "driver": "modbus", "port": LINE, "device": "waveshare-io-8ch", "address": 2})))
FIRST = '[device]\nid = "shop-1"\ndata = "{data}"\n\n# a remark that stays\n[uplink]\nhost = "127.0.0.1"\nport = 9\n'


class Typed:
    """Somebody who gives these answers, in this order; `told` is what was said and asked."""

    there = True

    def __init__(self, *answers: str) -> None:
        self.answers, self.told, self.hidden = list(answers), list[str](), list[str]()

    def tell(self, text: str) -> None:
        self.told.append(text)

    def live(self, text: str) -> None:
        self.told.append(text)

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        self.told.append(question)
        if hidden:
            self.hidden.append(question)
        return self.answers.pop(0) or default

    def pressed(self) -> str | None:
        return ""


class Absent(Typed):
    """Nobody."""

    there = False

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:  # noqa: ARG002  # nobody hears it
        return default


def place_of(folder: Path, person: Person, *finds: Find, answers: Answers | None = None, profile: str = FIRST) -> Place:
    path = folder / "shop.toml"
    path.write_text(profile.format(data=folder / "box"))
    return Place(path, load_profile(path), SystemClock(), person, answers or Answers(), Documents(folder / "box"), "1",
                 patience_s=0.01, finds=list(finds))


def names(profile: Profile) -> list[str]:
    return [each.name for each in (*profile.sensors, *profile.cameras, *profile.slots)]


def test_nobody_gets_what_is_certain_and_look_alikes_are_told_with_both_readings(tmp_path: Path) -> None:
    place = place_of(tmp_path, Absent(), FOUND, ON_LINE)
    outcome = lines.lines(place)
    assert outcome.state == "warning"
    assert "usb-line address 1 may be xy-md02 (temperature 4.0 Cel) or md02-hundredths (temperature 0.40 Cel)" in (
        outcome.found)
    assert '[found."..."] with make' in outcome.fix
    assert names(load_profile(place.path)) == ["scale-1", "door-1"] == names(place.profile)
    assert "# a remark that stays" in place.path.read_text()


def test_answers_choose_among_look_alikes_and_bring_cameras_and_slots(tmp_path: Path) -> None:
    answers = Answers(
        found={"usb-line address 1": Thing(name="fridge-1", make="md02-hundredths"),
               "usb-line address 2": Thing(doors={"input-3": "normally-closed"}), "usb-scale": Thing(unit="lb")},
        cameras=({"name": "cam-1", "source": "http://127.0.0.1:9/x.mjpg", "threshold": 0.5},),
        slots=({"name": "A1", "sku": "4006381333931", "product": 'Oat "fine" ä', "capacity": 9, "scale": "scale-1",
                "item_weight": "250 g"},))
    place = place_of(tmp_path, Absent(), FOUND, ON_LINE, answers=answers)
    assert lines.lines(place).state == "ok"
    found = tomllib.loads(place.path.read_text())
    assert [each.get("device", each.get("unit")) for each in found["sensors"]] == [
        "lb", "md02-hundredths", "waveshare-io-8ch"]
    assert found["sensors"][2]["contacts"] == {"input-3": "normally-closed"}
    assert found["cameras"][0]["threshold"] == 0.5
    assert found["slots"][0]["product"] == 'Oat "fine" ä'
    before = place.path.read_bytes()
    assert lines.lines(place).found == "all that was found is in the profile"
    assert place.path.read_bytes() == before


def test_a_profile_that_is_there_keeps_its_lines_and_gets_what_is_missing(tmp_path: Path) -> None:
    there = FIRST + f'[[sensors]]\nname = "old"\ndriver = "modbus"\nport = "{LINE}"\ndevice = "xy-md02"\naddress = 1\n'
    place = place_of(tmp_path, Absent(), FOUND, ON_LINE, profile=there)
    assert lines.lines(place).state == "ok"
    assert place.path.read_text().startswith(there.format(data=tmp_path / "box").rstrip())
    assert names(place.profile) == ["old", "scale-1", "door-1"]


def test_somebody_chooses_by_number_and_a_wrong_answer_is_asked_again(tmp_path: Path) -> None:
    person = Typed("", "Scale 1", "g", "", "g",  # a name with a space is none
                   "7", "two", "2", "fridge", "n", "")
    place = place_of(tmp_path, person, FOUND, ON_LINE)
    outcome = lines.lines(place)
    assert person.answers == []
    assert outcome.state == "ok", outcome
    assert names(place.profile) == ["scale-1", "fridge"]
    assert [getattr(each, "device", "") for each in place.profile.sensors] == ["", "md02-hundredths"]
    said = "\n".join(person.told)
    assert "sensors[0].name" in said
    assert "'7' is none of them: 1 to 2" in said
    assert "says temperature 0.40 Cel" in said
    assert "usb-line address 2 was left out" in outcome.found


class Doors:
    """An input module whose second input is closed while the door is."""

    def read(self) -> tuple[Reading, ...]:
        return tuple(Reading("x", f"input-{n}", 1.0, n == 2) for n in range(1, 9))

    def close(self) -> None:
        """Nothing is open."""


def test_how_a_door_is_wired_is_seen_while_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "open_driver", lambda *_: Doors())
    find = Find(ON_LINE.place, ON_LINE.choices[2:])
    place = place_of(tmp_path, Typed("", "", "1, 2", "", ""), find)
    assert lines.lines(place).state == "ok"
    assert tomllib.loads(place.path.read_text())["sensors"][0]["contacts"] == {
        "input-1": "normally-open", "input-2": "normally-closed"}


def test_a_cameras_password_is_typed_unseen_and_opens_it(tmp_path: Path) -> None:
    person = Typed("rtsp://10.0.0.7/shelf", "keeper", "p@ss:w/rd", "")
    place = place_of(tmp_path, person)
    outcome = lines.lines(place)
    assert person.hidden == ["its password, which is not shown"]
    assert place.profile.cameras[0].source == "rtsp://keeper:p%40ss%3Aw%2Frd@10.0.0.7/shelf"
    assert "p%40ss" not in str(outcome)
    assert "p@ss" not in "".join(person.told)


def scale_at(monkeypatch: pytest.MonkeyPatch, weight: str) -> None:
    class Told:
        def read(self) -> tuple[Reading, ...]:
            return (Reading("scale-1", "weight", 1.0, Decimal(weight), "kg"),)

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr("edge.commissioning.place.open_driver", lambda *_: Told())


def test_a_product_is_weighed_where_nobody_knows_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale_at(monkeypatch, "1.252")
    person = Typed("", "", "", "")
    place = place_of(tmp_path, person, FOUND)
    assert lines.lines(place).state == "ok"
    # barcode mistyped, then right; its place; how many fit: none at first; its weight: weighed; of how many
    person.answers = ["4006381333932", "4006381333931", "A1", "many", "", "0", "5", "A1", "24", "", "5"]
    outcome = scales.product(place.profile.sensors[0], place)
    assert person.answers == []
    assert (outcome.state, outcome.learned["item_weight"]) == ("ok", "0.2504 kg")
    slot = place.profile.slots[0]
    assert (slot.name, slot.sku, slot.capacity, slot.item_weight) == ("A1", "4006381333931", 24, Decimal("0.2504"))
    assert "the GTIN's last digit should be 1" in "\n".join(person.told)
    assert scales.item(place.profile.sensors[0], slot, place).found == "5 units were weighed here: 0.2504 kg each"


def test_answers_that_are_no_number_or_no_weight_are_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                 ) -> None:
    scale_at(monkeypatch, "1.000")
    person = Typed("", "", "", "")
    place = place_of(tmp_path, person, FOUND, answers=Answers(slots=({
        "name": "A1", "sku": "4006381333931", "capacity": 9, "scale": "scale-1", "item_weight": "250 g"},)))
    lines.lines(place)
    person.answers = ["heavy", "1,0 kg", "many", "4"]
    scale, slot = place.profile.sensors[0], place.profile.slots[0]
    assert scales.known(scale, place).found == "shows 1.000 kg for 1.0 kg"
    assert scales.item(scale, slot, place).found == "4 units weigh 0.2500 kg each; the profile says 0.250 kg"
    assert "'heavy' is not a weight" in "\n".join(person.told)


def test_a_port_that_was_named_and_where_nothing_answers_is_missed(tmp_path: Path) -> None:
    place = place_of(tmp_path, Absent(), answers=Answers(ports=(str(tmp_path / "none"),)))
    outcome = devices.ports(place)
    assert (outcome.state, outcome.learned["missing"]) == ("warning", [str(tmp_path / "none")])


def test_a_pan_without_goods_weighs_nothing_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   ) -> None:
    scale_at(monkeypatch, "0.000")
    place = place_of(tmp_path, Typed("", "", "", ""), FOUND)
    lines.lines(place)
    before = place.path.read_bytes()
    place.person = Typed("4006381333931", "A1", "24", "", "5")
    with pytest.raises(Exception, match="no weight of goods"):
        scales.product(place.profile.sensors[0], place)
    assert place.path.read_bytes() == before


LABEL = str(Label("shop-7", ALPHABET[1] * 12, ALPHABET[2] * 20, "enrol.example.org:8443"))


def begun(folder: Path, person: Person, **answers: str) -> Answers:
    return begin.begin(folder / "etc" / "shop.toml", Answers(**answers), person)  # type: ignore[arg-type]  # all text


def test_a_label_is_all_that_a_profile_begins_with(tmp_path: Path) -> None:
    person = Typed("CG1:shop-7:0000", LABEL, "", str(tmp_path / "box"))
    assert begun(tmp_path, person).label == LABEL
    profile = load_profile(tmp_path / "etc" / "shop.toml")
    assert (profile.device.id, profile.uplink.host, profile.uplink.port, profile.uplink.secure) == (
        "shop-7", "enrol.example.org", 8883, True)
    assert (tmp_path / "etc" / "shop.toml").stat().st_mode & 0o777 == 0o600
    assert LABEL not in (tmp_path / "etc" / "shop.toml").read_text()


def test_a_device_id_that_is_none_is_asked_again(tmp_path: Path) -> None:
    person = Typed("", "Shop 7", "broker:1883", "", "shop-7", "broker:1883", str(tmp_path / "box"))
    begun(tmp_path, person)
    assert any("device.id" in line for line in person.told)
    assert load_profile(tmp_path / "etc" / "shop.toml").device.id == "shop-7"


@pytest.mark.parametrize("answers", [{}, {"device": "shop-7"}, {"device": "Shop 7", "broker": "b:1"},
                                     {"label": "CG1:x"}])
def test_where_nobody_answers_and_something_is_missing_no_profile_is_made(tmp_path: Path, answers: dict[str, str],
                                                                          ) -> None:
    with pytest.raises(ConfigError):
        begun(tmp_path, Absent(), **answers)
    assert not (tmp_path / "etc" / "shop.toml").exists()


@pytest.mark.parametrize("text", ["", "[[slots]]\n", "x = 'y'"])
def test_a_block_that_spoils_the_profile_is_not_written(tmp_path: Path, text: str) -> None:
    place = place_of(tmp_path, Absent(), answers=Answers(slots=({"name": "A1", "sku": text, "capacity": 1},)))
    before = place.path.read_bytes()
    with pytest.raises(ConfigError):
        lines.lines(place)
    assert place.path.read_bytes() == before
    assert list(place.path.parent.glob("*.part")) == []


def test_a_profile_that_cannot_be_written_is_told_and_stays(tmp_path: Path) -> None:
    place = place_of(tmp_path, Absent(), FOUND)
    (tmp_path / "shop.toml.part").mkdir()
    before, profile = place.path.read_bytes(), place.profile
    with pytest.raises(ConfigError, match="cannot be written"):
        lines.lines(place)
    assert (place.path.read_bytes(), place.profile) == (before, profile)


def test_the_shipped_answers_make_the_demos_profile(tmp_path: Path) -> None:
    shops = Path(__file__).parents[3] / "firmware_configs" / "shops"
    demo = load_profile(shops / "demo.toml")
    scale, line = (Find(Socket(port, port), tuple(
        Choice(f"{port} {make}", kind, make, "", "", "", {
            "driver": kind if address else make, "port": port, **({"device": make, "address": address} if address else
                                                                  {"unit": "kg"})}) for kind, make, address in found))
                   for port, found in (("/dev/scale-1", [("scale", "toledo-8217", None)]), ("/dev/rs485", [
                       ("modbus", "xy-md02", 1), ("modbus", "md02-hundredths", 1), ("modbus", "waveshare-io-8ch", 2)])))
    place = place_of(tmp_path, Absent(), scale, line, answers=read_answers(shops / "answers.toml"))
    assert lines.lines(place).state == "ok"
    made = place.profile
    assert [(each.name, each.driver) for each in made.sensors] == [(each.name, each.driver) for each in demo.sensors]
    assert made.sensors[2].contacts == demo.sensors[2].contacts  # type: ignore[union-attr]  # both are Modbus
    assert [(each.name, each.source) for each in made.cameras] == [(each.name, each.source) for each in demo.cameras]
    assert made.slots == demo.slots[:3]
