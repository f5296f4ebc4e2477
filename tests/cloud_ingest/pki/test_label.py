"""The label: what a person scans or types is what the authority printed, and a slip of the finger is found."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.pki.labels import qr_of, terminal, write_png, write_sheet
from edge.errors import ConfigError
from edge.wire.enrol import ALPHABET, CODE_SYMBOLS, PRINT_SYMBOLS, Label, claim_seed, parse_label

LABEL = Label("shop-0042", "9K3M2QXW7TBD", "4F7HK9M2QXWTBD13RSVA", "enrol.example.org:8443")
labels = st.builds(
    Label, st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True),
    st.text(ALPHABET, min_size=CODE_SYMBOLS, max_size=CODE_SYMBOLS),
    st.text(ALPHABET, min_size=PRINT_SYMBOLS, max_size=PRINT_SYMBOLS),
    st.sampled_from(["", "enrol.example.org:8443", "10.0.0.5:8443"]))


@given(labels)
def test_a_label_is_read_back_from_its_text_and_from_its_qr_code(label: Label) -> None:
    assert parse_label(str(label)) == label
    assert parse_label(label.qr) == label


@given(labels)
def test_a_label_may_be_typed_small_without_hyphens_and_with_spaces(label: Label) -> None:
    prefix, device, code, rest = str(label).split(":", 3)
    print_, _, server = rest.partition(":")
    typed = [prefix.lower(), device, code.replace("-", "").lower(), print_.replace("-", " "), *filter(None, [server])]
    assert parse_label(" : ".join(typed)) == label


@given(labels, st.data())
def test_one_mistyped_symbol_is_always_found(label: Label, data: st.DataObject) -> None:
    symbols = label.code + label.fingerprint
    at = data.draw(st.integers(0, len(symbols) - 1))
    other = data.draw(st.sampled_from([each for each in ALPHABET if each != symbols[at]]))
    wrong = symbols[:at] + other + symbols[at + 1:]
    check = str(label).split(":")[2][-1]
    with pytest.raises(ConfigError, match="mistyped"):
        parse_label(f"CG1:{label.device}:{wrong[:CODE_SYMBOLS]}{check}:{wrong[CODE_SYMBOLS:]}")


def test_signs_that_look_alike_are_taken_for_each_other() -> None:
    assert parse_label("CG1:shop-1:" + str(Label("shop-1", "0" * 12, "1" * 20)).split(":")[2].replace("0", "O")
                       + ":" + "I" * 10 + "l" * 10).fingerprint == "1" * 20


@pytest.mark.parametrize(("text", "part"), [
    ("hello", "label"), ("", "label"), ("CG2:shop-1:a:b", "label"), ("CG1:Sh_op:a:b", "device"),
    ("CG1:shop-1:9K3M:b", "code"), ("CG1:shop-1:9K3M-2QXW-7TBD-*:b", "code"),
    ("CG1:shop-1:9K3M-2QXW-7TBD-R:4F7", "fingerprint"), (f"{LABEL}x", "server"),
])
def test_what_is_wrong_with_a_label_is_said(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_label(text)
    assert caught.value.problems[0].key == part
    assert caught.value.problems[0].fix


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_label(text)


def test_the_code_has_sixty_bits_and_another_code_another_key() -> None:
    assert len(ALPHABET) ** CODE_SYMBOLS >= 2 ** 60
    other = Label(LABEL.device, LABEL.code[:-1] + "E", LABEL.fingerprint)
    assert len({claim_seed(LABEL), claim_seed(other), claim_seed(LABEL)}) == 2


def test_a_label_in_a_trace_does_not_show_its_code() -> None:
    assert LABEL.code not in repr(LABEL)


def test_the_qr_code_of_a_usual_label_fits_a_sticker_of_40_mm() -> None:
    modules = qr_of(LABEL).symbol_size(border=4)[0]
    assert 40 / modules >= 0.85, "a phone needs modules of nearly a millimetre at arm's length"


def test_a_camera_reads_the_label_from_the_png(tmp_path: Path) -> None:
    file = write_png(LABEL, tmp_path)
    picture = cv2.imread(str(file))
    assert picture is not None
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert parse_label(text) == LABEL
    assert file.stat().st_mode & 0o077 == 0


def test_the_terminal_shows_as_many_modules_as_the_code_has() -> None:
    lines = [line for line in terminal(LABEL).splitlines() if line.strip()]
    assert len(lines) >= qr_of(LABEL).symbol_size(border=0)[1] // 2


def test_a_sheet_holds_every_label_as_text_and_as_code(tmp_path: Path) -> None:
    several = [Label(f"shop-{i}", LABEL.code, LABEL.fingerprint) for i in range(3)]
    write_sheet(several, tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<svg") == 3
    assert all(str(label) in page for label in several)
    assert (tmp_path / "sheet.html").stat().st_mode & 0o077 == 0


def test_openssl_and_we_agree_on_the_fingerprint(tmp_path: Path) -> None:
    from cloud_ingest.pki.folder import create  # noqa: PLC0415  # only here

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = create(tmp_path / "ca", "Test", 1_800_000_000.0)
    command = [openssl, "x509", "-in", str(tmp_path / "ca" / "root.crt"), "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bits = int(told.strip().partition("=")[2].replace(":", ""), 16) >> 156
    assert folder.fingerprint == "".join(ALPHABET[bits >> 5 * i & 31] for i in reversed(range(20)))
