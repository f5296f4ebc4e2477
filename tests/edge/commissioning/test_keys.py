"""The commissioning driven by keys through a real pseudo-terminal, with hands on a virtual shop."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cloud_ingest.pki.signed import verify
from edge.commissioning.person import Keyboard, Stopped
from edge.documents import Documents
from edge.profile import load_profile
from tests.cloud_ingest.pki.world import World, until, world_in
from tests.edge.commissioning.shops import ENVIRONMENT, HandledShop, Hands, command, started, write_profile

PLAIN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[HandledShop]:
    """A virtual shop whose profile is shop.toml."""
    with started(HandledShop(write_profile(tmp_path / "shop.toml", tmp_path / "box", 9, tls=False), tmp_path)) as shop:
        yield shop


Keys = list[tuple[str, str]]
"""When the text shows, after what the one before it was typed for, its keys are typed."""


def drive(folder: Path, hands: Hands, keys: Keys, *words: str, kill_at: str = "", kill: int = signal.SIGKILL,
          term: str = "xterm") -> tuple[int, str]:
    """Run `commission` on a terminal of 80 columns and type the keys; the exit code and what was shown.

    `kill_at`: send the signal when that text shows. A dumb terminal's escapes are left as they are.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command("commission", *words), stdin=slave, stdout=slave, stderr=slave, cwd=folder,
                          env=ENVIRONMENT | {"TERM": term}, start_new_session=True) as process, \
            contextlib.ExitStack() as end:
        # A test that fails does not wait for a command that waits for keys.
        end.callback(process.kill)
        os.close(slave)
        shown, left, at = "", list(keys), 0
        while True:
            try:
                more = os.read(master, 4096).decode(errors="replace")
            except OSError:  # Linux says EIO once nobody has the other end
                break
            before, shown = shown.count("\n"), shown + (more if term == "dumb" else PLAIN.sub("", more))
            for line in shown.split("\n")[before:-1]:
                hands.hear(line)
            while left and (found := shown.find(left[0][0], at)) >= 0:
                at = found + len(left[0][0])
                os.write(master, left.pop(0)[1].encode())
            if kill_at and kill_at in shown:
                process.send_signal(kill)
                kill_at = ""
        os.close(master)
        hands.close()
        assert left == [], f"never asked: {left}\n{shown}"
        return process.wait(), shown


def run_of(folder: Path) -> dict[str, str]:
    kept = Documents(folder / "box").kept("commissionings", "present")
    assert kept is not None
    return {each["step"]: each["outcome"]["state"] for each in kept["run"]["steps"]}


WITHOUT = ("shop.toml", "--no-other-ports", "--patience", "20", "--skip", "ports", "--skip",
           "drill", "--skip", "committed", "--skip", "cam-1/slots")


def test_an_installer_answers_by_keys_leaves_and_comes_back_to_where_it_was(tmp_path: Path, shop: HandledShop) -> None:
    code, shown = drive(tmp_path, Hands(shop), [("who are you?", "A. Fitter\n"), ("weight that you have", "1 kg\n"),
                                                ("how many units", "4\n"), ("open the door", "q\n")], *WITHOUT)
    assert code == 3, shown
    assert "shows 1.000 kg for 1 kg" in shown
    assert "4 units weigh 0.2500 kg each" in shown
    assert "door-1/open" not in run_of(tmp_path)
    code, shown = drive(tmp_path, Hands(shop), [("who are you?", "\n"), ("open the door", "s\n"), ("focus", "\n")],
                        *WITHOUT)
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
    code, shown = drive(tmp_path, Slow(shop), [("expected 0 kg", "\n"), ("r and Enter", "r\n")], *flags)
    assert code == 0, shown
    assert "shows 6.000 kg when empty" in shown
    assert run_of(tmp_path)["scale-1/zero"] == "ok"


def test_what_was_done_is_there_after_a_kill(tmp_path: Path, shop: HandledShop) -> None:
    flags = (*WITHOUT, "--by", "A. Fitter", "--known-weight", "1 kg", "--skip", "fridge-1", "--skip", "cam-1")
    code, _ = drive(tmp_path, Hands(shop), [], *flags, kill_at="how many units")
    assert code == -signal.SIGKILL
    code, shown = drive(tmp_path, Hands(shop), [("how many units", "\n")], *flags)
    assert code == 0, shown
    assert "going on after 7 steps" in shown
    assert "empty the pan" not in shown


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An authority without a broker."""
    with world_in(tmp_path, None) as world:
        yield world


def test_an_installer_with_a_label_and_a_box_gets_a_profile_a_certificate_and_a_signed_report(
        tmp_path: Path, shop: HandledShop, world: World) -> None:
    words = ("new/shop.toml", "--patience", "20", "--port", "box/pty/scale-1", "--skip", "foreign", "--skip",
             "committed", "--skip", "drill")
    code, shown = drive(tmp_path, Hands(shop), [
        ("type the label", "CG1:shop-7:0000\n"), ("type the label", f"{world.invite('shop-7')}\n"),
        ("the broker, HOST:PORT", "127.0.0.1:9\n"), ("the folder for its data", "mine\n"),
        ("who are you?", "A. Fitter\n"), ("Enter: it goes into the profile", "\n"), ("its name", "\n"),
        ("what does its display show?", "\n"), ("a camera's address", "\n"), ("weight that you have", "1 kg\n"),
        ("what lies on scale-1", "4006381333931\n"), ("its place's name", "A1\n"), ("how many units fit", "24\n"),
        ("weight of one unit", "0.250 kg\n"), ("how many units of", "4\n")], *words)
    assert code == 0, shown
    profile = load_profile(tmp_path / "new" / "shop.toml")
    assert (profile.device.id, profile.device.data) == ("shop-7", tmp_path / "mine")
    assert [(each.driver, each.port) for each in profile.sensors] == [
        ("toledo-8217", str(tmp_path / "box" / "pty" / "scale-1"))]
    assert [(each.name, each.sku, str(each.item_weight)) for each in profile.slots] == [
        ("A1", "4006381333931", "0.250")]
    signed = next((tmp_path / "mine" / "commissioning").glob("*/report.jws"))
    assert verify(json.loads(signed.read_text()), world.folder.root).device == "shop-7"


def test_ctrl_c_ends_it_at_once_while_ports_are_looked_behind_and_a_dumb_terminal_gets_plain_lines(
        tmp_path: Path, shop: HandledShop) -> None:
    words = ("shop.toml", "--by", "A. Fitter", "--no-other-ports", "--skip", "clock", "--skip", "disk")
    code, shown = drive(tmp_path, Hands(shop), [], *words, kill_at="looking behind 2 ports", kill=signal.SIGINT,
                        term="dumb")
    assert code == 3, shown
    assert "stopped; what was done is kept" in shown
    assert set(run_of(tmp_path)) == {"identity", "clock", "disk"}
    assert "\x1b" not in shown


@contextlib.contextmanager
def keyboard() -> Iterator[tuple[Keyboard, Callable[[bytes], int], Callable[[], str]]]:
    """A keyboard at a terminal, what types on it, and what it shows."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as source, io.StringIO() as screen:
        try:
            yield Keyboard(Console(file=screen), source), lambda keys: os.write(master, keys), screen.getvalue
        finally:
            # Its reader holds the other end until this one is gone: a test that fails would never end.
            os.close(master)


def asked(keys: Keyboard, shown: Callable[[], str], then: Callable[[], object]) -> str:
    """What a question gets, where something happens once it shows; what is typed sooner is forgotten."""
    answers: list[str] = []
    before = shown().count("who are you?")
    asking = threading.Thread(target=lambda: answers.append(keys.ask("who are you?", "nobody")))
    asking.start()
    until(lambda: shown().count("who are you?") > before, "the question")
    then()
    asking.join(10)
    return answers[0]


def test_what_was_typed_before_the_question_does_not_answer_it() -> None:
    """Somebody who pressed Enter twice has not said who they are, nor that an empty scale is to be taken so."""
    with keyboard() as (keys, press, shown):
        press(b"\n")
        until(lambda: not keys._lines.empty(), "the early line was read")
        assert asked(keys, shown, lambda: press(b"A. Fitter\n")) == "A. Fitter"
        press(b"\n")
        until(lambda: not keys._lines.empty(), "the early line was read")
        keys.tell("empty the pan")
        assert keys.pressed() is None


def test_a_letter_in_another_encoding_does_not_end_the_keyboard() -> None:
    with keyboard() as (keys, press, shown):
        assert asked(keys, shown, lambda: press(b"J\xf6rg\n")) == "J\ufffdrg"
        assert asked(keys, shown, lambda: press(b"again\n")) == "again"


def test_a_terminal_that_is_gone_ends_it() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave) as source:
        keys = Keyboard(Console(file=io.StringIO()), source)
        os.close(master)
        with pytest.raises(Stopped):
            keys.ask("who are you?")
