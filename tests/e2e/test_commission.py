"""From an invited label to a signed report, over the closed broker, by one command and by nobody at a keyboard."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from edge.commissioning.report import NAME, joined
from edge.identity.sign import verify
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


@pytest.mark.timeout(180)
def test_from_an_invited_label_to_a_signed_report_in_the_cloud_and_no_warning_is_left(
        place: Place, shop: HandledShop) -> None:
    (place.folder / "label.txt").write_text(label_of(place, "shop-1"))
    (place.folder / "answers.toml").write_text('by = "A. Fitter"\nknown_weight = "1 kg"\n\n[units]\nA1 = 8\n')
    words = ("commission", "full.toml", "--unattended", "--answers", "answers.toml", "--label-file", "label.txt",
             "--no-other-ports", "--patience", "30", "--json")
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

    root = x509.load_pem_x509_certificate((place.folder / "ca" / "root.crt").read_bytes())
    folder = Path(told["folder"])
    signed = json.loads((folder / "report.jws").read_text())
    assert verify(signed, root) == ("shop-1", (folder / "report.json").read_bytes())
    with contextlib.closing(sqlite3.connect(place.folder / "cloud.db")) as db:
        pieces = db.execute("SELECT value FROM reading WHERE device = 'shop-1' AND name = ?", (NAME,)).fetchall()
        sent = joined((value for value, in pieces), told["run"])
    assert sent is not None
    assert verify(json.loads(sent), root)[1] == (folder / "report.json").read_bytes()
    code = label_of(place, "shop-1").split(":")[2]
    for file in [*folder.iterdir(), *(place.folder / "full").glob("documents*.json")]:
        assert code.encode() not in file.read_bytes(), f"the label's code is in {file.name}"
