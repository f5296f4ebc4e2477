"""From an invited label to a signed report, over the closed broker, by one command and by nobody at a keyboard."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_closed import Place, label_of
from tests.e2e.test_closed import place as place  # noqa: PLC0414  # the closed broker, and all around it
from tests.edge.commissioning.shops import ENVIRONMENT, HandledShop, Hands, command, started, write_profile


@pytest.fixture
def shop(place: Place) -> Iterator[HandledShop]:
    """A virtual shop whose profile names the closed broker."""
    port = int(re.search(r"^port = (\d+)", (place.folder / "shop.toml").read_text(), re.MULTILINE)[1])  # type: ignore[index]  # the fixture wrote it
    profile = write_profile(place.folder / "full.toml", place.folder / "full", port, tls=True)
    with started(HandledShop(profile, place.folder)) as shop:
        yield shop


ANSWERS = Path(__file__).parents[2] / "firmware_configs" / "shops" / "answers.toml"
SOURCE = re.compile(r'^source = .*$', re.MULTILINE)


@pytest.mark.timeout(180)
def test_from_an_invited_label_to_a_signed_report_in_the_cloud_and_no_warning_is_left(
        place: Place, shop: HandledShop) -> None:
    (place.folder / "label.txt").write_text(label_of(place, "shop-1"))
    full = (place.folder / "full.toml").read_text()
    camera = SOURCE.search(full)
    assert camera is not None
    (place.folder / "answers.toml").write_text(SOURCE.sub(camera[0], ANSWERS.read_text()))
    broker = re.search(r"^port = (\d+)", full, re.MULTILINE)
    assert broker is not None
    words = ("commission", "new.toml", "--unattended", "--answers", "answers.toml", "--label-file", "label.txt",
             "--broker", f"127.0.0.1:{broker[1]}", "--data", "new", "--port", "full/pty/scale-1", "--port",
             "full/pty/rs485", "--patience", "30", "--json")
    hands = Hands(shop)
    with subprocess.Popen(command(*words), cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            hands.hear(line)
        told = json.loads(process.stdout.read())
    hands.close()
    assert [each for each in told["steps"] if each["state"] == "warning"] == []
    assert process.returncode == 0
    assert (told["ok"], told["signed"], told["committed"], told["by"]) == (True, True, True, "A. Fitter")
    found = {each["step"]: each["found"] for each in told["steps"]}
    assert "refused: Not authorized" in found["foreign"]
    assert "committed" in found["committed"]
    assert "answers to breath" in found["fridge-1/alike"]
    assert "opened and closed" in found["door-1/open"]
    assert "8 units weigh 0.2500 kg" in found["scale-1/A1"]
    skipped = [each["step"] for each in told["steps"] if each["state"] == "skipped"]
    assert skipped == ["door-1/alike"]

    folder = Path(told["folder"])
    for what in (str(folder / "report.jws"), "shop-1"):
        judged = json.loads(place.run("cloud_ingest", "report", "verify", what, "--json"))
        assert (judged["valid"], judged["device"], judged["run"]) == (True, "shop-1", told["run"])
    shown = json.loads(place.run("cloud_ingest", "report", "show", "shop-1", "--json", "--html", "shown.html"))
    reported = json.loads((folder / "report.json").read_text())
    assert [each["step"] for each in shown["report"]["steps"]] == [each["step"] for each in reported["steps"]]
    assert "everything works" in (place.folder / "shown.html").read_text()
    code = label_of(place, "shop-1").split(":")[2]
    for file in [*folder.iterdir(), *(place.folder / "new").glob("documents*.json"),
                 place.folder / "new.toml"]:
        assert code.encode() not in file.read_bytes(), f"the label's code is in {file.name}"
