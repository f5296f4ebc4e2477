"""What the scrubber takes out, whatever a secret looks like and wherever it stands; and what it leaves alone."""

from __future__ import annotations

import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.box.scrub import SHORTEST, Scrubber, secrets_of, secrets_of_key

KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgplantedplanted
plantedtwo
-----END PRIVATE KEY-----"""
words = st.text(string.ascii_letters + string.digits + "@/:?#&%+ -_!$", min_size=8, max_size=30)


@given(words)
def test_a_known_secret_is_nowhere_in_any_form(secret: str) -> None:
    scrubber = Scrubber([secret])
    event = {"event": "camera_lost", "detail": f"<{secret}>", secret: 1, "more": [{"url": f"rtsp://u:{secret}@h/x"}]}
    out = "".join((scrubber.text(f"x{secret}y"), scrubber.text(quote(secret, safe="")),
                   json.dumps(scrubber.tree(event)), scrubber.lines(f"<4>{json.dumps(event)}\nplain {secret} text\n")))
    assert secret not in out
    assert quote(secret, safe="") not in out


@given(st.text(string.ascii_lowercase + string.digits, min_size=SHORTEST, max_size=12))
def test_the_logins_of_a_profile_are_known(password: str) -> None:
    profile = {"cameras": [{"source": f"rtsp://gatekeeper:{password}@10.0.0.9/a"},
                           {"source": f"http://10.0.0.9/a?user=gatekeeper&pwd={password}"}], "n": [1, True]}
    assert list(secrets_of(profile)).count(password) == 2
    assert password not in Scrubber(secrets_of(profile)).text(f"tried ({password}) twice")


@pytest.mark.parametrize("text", [
    "cannot open rtsp://gate:planted@10.0.0.9/shelf", "7rtsp://gate:planted@h", "x.y-rtsp://gate:planted@h",
    "rtsp:/gate:planted@10.0.0.9/shelf",
    "mqtts://box:planted@broker:8883 refused", "http://h/x?token=planted&a=1", "password=planted",
    'password: "planted"', "<http://h/x?user=planted&pwd=planted@h/u#n?planted>",
    "broker_password = 'planted'", "Authorization: Digest username=\"planted\", response=\"planted\"",
    "authorization=Bearer planted", "CG1:shop-0042:planted-ABCD-1:XYZ", "code 9K3M-2QXW-7TBD-R here", KEY, KEY[:70],
    json.dumps({"key": KEY}), json.dumps({"note": KEY}), '{"api_key": "planted"}', '<3>{"password": "planted"}',
])
def test_what_has_the_look_of_a_secret_is_taken_out_unknown(text: str) -> None:
    out = Scrubber().lines(text) if text.startswith(("{", "<")) else Scrubber().text(text)
    assert "planted" not in out
    assert "9K3M" not in out
    assert "***" in out


@pytest.mark.parametrize("text", [
    "0.013120 < 02 30 31 2E 32", "sensors[0].port: is missing", "1.2.3", "2026-01-02T03:04:05Z",
    "stream 2b1c7f9e-3f50-4a6b-8a55-0f0d3e2a1b4c", "rtsp://10.0.0.9/shelf", "key: slots[0].scale", "12:34 passed",
])
def test_what_is_no_secret_stays(text: str) -> None:
    assert Scrubber(["1234"]).text(text) == text


def test_a_short_password_is_found_where_it_stands_alone() -> None:
    scrubber = Scrubber(["1234", "abc"])
    assert scrubber.text("tried 1234, at 0.123456 and 51234") == "tried ***, at 0.123456 and 51234"
    assert scrubber.tree({"t": 1234, "s": "abcdef"}) == {"t": 1234, "s": "abcdef"}


def test_each_line_of_a_key_is_a_secret() -> None:
    lines = list(secrets_of_key(f"Cornergrid identity 1\n{KEY}\n"))
    assert lines == KEY.splitlines()[1:-1]
    assert list(secrets_of_key(json.dumps({"key": KEY}))) == lines


def test_a_strangers_key_over_several_lines_of_a_log_is_taken_out() -> None:
    log = "".join(f"2026-01-02T03:04:05 box program[1]: {line}\n" for line in ("before", *KEY.splitlines(), "after"))
    out = Scrubber().lines(log)
    assert "planted" not in out
    assert "before" in out
    assert "after" in out


def test_lines_keep_their_number_and_json_stays_json() -> None:
    text = '<6>{"event": "running", "t": 1.5}\nnot json {\n{"broken": \n'
    out = Scrubber().lines(text).splitlines()
    assert len(out) == 3
    assert json.loads(out[0][3:]) == {"event": "running", "t": 1.5}
