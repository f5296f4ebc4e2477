"""The commissioning driven by keys through a real pseudo-terminal, with hands on a virtual shop."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.documents import Documents
from tests.edge.commissioning.shops import ENVIRONMENT, HandledShop, Hands, command, started, write_profile

PLAIN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[HandledShop]:
    """A virtual shop whose profile is shop.toml."""
    with started(HandledShop(write_profile(tmp_path / "shop.toml", tmp_path / "box", 9, tls=False), tmp_path)) as shop:
        yield shop


def drive(folder: Path, hands: Hands, keys: dict[str, str], *flags: str, kill_at: str = "") -> tuple[int, str]:
    """Run it on a terminal; when the text of a key shows, its value is typed, once. The exit code and what was shown.

    `kill_at`: kill -9 when that text shows.
    """
    master, slave = pty.openpty()
    words = ("commission", str(folder / "shop.toml"), "--no-other-ports", "--patience", "20", *flags)
    with subprocess.Popen(command(*words), stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT,
                          start_new_session=True) as process:
        os.close(slave)
        shown, left = "", dict(keys)
        while True:
            try:
                more = os.read(master, 4096).decode(errors="replace")
            except OSError:  # Linux says EIO once nobody has the other end
                break
            before, shown = shown.count("\n"), shown + PLAIN.sub("", more)
            for line in shown.split("\n")[before:-1]:
                hands.hear(line)
            for text in [text for text in left if text in shown]:
                os.write(master, left.pop(text).encode())
            if kill_at and kill_at in shown:
                process.send_signal(signal.SIGKILL)
                kill_at = ""
        os.close(master)
        hands.close()
        assert left == {}, f"never asked: {list(left)}\n{shown}"
        return process.wait(), shown


def run_of(folder: Path) -> dict[str, str]:
    kept = Documents(folder / "box").kept("commissionings", "present")
    assert kept is not None
    return {each["step"]: each["outcome"]["state"] for each in kept["run"]["steps"]}


WITHOUT = ("--skip", "ports", "--skip", "drill", "--skip", "committed", "--skip", "cam-1/slots")


def test_an_installer_answers_by_keys_leaves_and_comes_back_to_where_it_was(tmp_path: Path, shop: HandledShop) -> None:
    code, shown = drive(tmp_path, Hands(shop), {"who are you?": "A. Fitter\n", "a known weight": "1 kg\n",
                                                "how many units": "4\n", "open the door": "q\n"}, *WITHOUT)
    assert code == 3, shown
    assert "shows 1.000 kg for 1 kg" in shown
    assert "4 units weigh 0.2500 kg each" in shown
    assert "door-1/open" not in run_of(tmp_path)
    code, shown = drive(tmp_path, Hands(shop), {"who are you?": "\n", "open the door": "s\n", "focus": "\n"}, *WITHOUT)
    assert code == 0, shown
    assert "empty the pan" not in shown
    assert re.search(r"focus \d\.\d px \(sharp: under 5\.5\), brightness \d+ of 255", shown)
    states = run_of(tmp_path)
    assert (states["scale-1/zero"], states["scale-1/known"], states["door-1/open"], states["cam-1/aim"]) == (
        "ok", "ok", "skipped", "ok")
    report = next((tmp_path / "box" / "commissioning").glob("*/report.json"))
    assert json.loads(report.read_text())["by"] == "A. Fitter"
    page = report.with_suffix(".html").read_text()
    assert page.count("<img") == 1
    assert 'src="data:image/jpeg;base64,' in page
    assert "http" not in page.replace("http-equiv", "").replace("http://127.0.0.1", "")  # nothing is fetched
    calibration = Documents(tmp_path / "box").kept("calibrations", "scale-1")
    assert calibration is not None
    assert (calibration["by"], calibration["known_kg"], calibration["A1"]["item_weight_kg"]) == (
        "A. Fitter", "1", "0.2500")


def test_a_warning_can_be_tried_again_at_once(tmp_path: Path, shop: HandledShop) -> None:
    class Slow(Hands):
        """Empties the pan only once the warning is there."""

        def hear(self, line: str) -> None:
            if "press its own zero key" in line:
                super().hear("empty the pan")

    flags = (*WITHOUT, "--by", "A. Fitter", "--skip", "fridge-1", "--skip", "door-1", "--skip", "cam-1",
             "--skip", "scale-1/known", "--skip", "scale-1/A1")
    code, shown = drive(tmp_path, Slow(shop), {"expected 0 kg": "\n", "r and Enter": "r\n"}, *flags)
    assert code == 0, shown
    assert "shows 6.000 kg when empty" in shown
    assert run_of(tmp_path)["scale-1/zero"] == "ok"


def test_what_was_done_is_there_after_a_kill(tmp_path: Path, shop: HandledShop) -> None:
    flags = (*WITHOUT, "--by", "A. Fitter", "--known-weight", "1 kg", "--skip", "fridge-1", "--skip", "cam-1")
    code, _ = drive(tmp_path, Hands(shop), {}, *flags, kill_at="how many units")
    assert code == -signal.SIGKILL
    code, shown = drive(tmp_path, Hands(shop), {"how many units": "\n"}, *flags)
    assert code == 0, shown
    assert "going on after 6 of" in shown
    assert "empty the pan" not in shown
