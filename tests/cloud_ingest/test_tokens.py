"""The commands around tokens, and that no token is told anywhere: logs, messages, arguments, files."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cloud_ingest import tokens
from cloud_ingest.__main__ import app
from edge.box.scrub import Scrubber
from edge.errors import ConfigError, StoreError
from tests.cloud_ingest.devices import loopback_port, until
from tests.cloud_ingest.doors import bearer, certified, client, now, serving
from tests.cloud_ingest.feeding import Cloud

TOKEN = re.compile(r"cgt_[0-9a-f]{8}_[0-9a-f]{40}")


def ask(*words: object) -> Result:
    return CliRunner().invoke(app, ["token", *(str(word) for word in words)])


@pytest.fixture
def db(cloud: Cloud) -> Path:
    return cloud.path


def test_a_token_is_printed_alone_and_only_once(db: Path) -> None:
    made = ask("add", "planning-team", "--scope", "feed", "--days", 30, "--db", db)
    assert TOKEN.fullmatch(made.stdout.strip())
    assert "scope feed" in made.stderr
    assert "shown this once" in made.stderr
    shown = ask("list", "--db", db)
    assert "planning-team" in shown.stdout
    assert not TOKEN.search(shown.stdout)
    (told,) = json.loads(ask("list", "--db", db, "--json").stdout)["tokens"]
    assert (told["name"], told["scope"], told["state"], told["used"]) == ("planning-team", "feed", "valid", None)
    assert told["ends"] - told["made"] == 30 * 86_400
    assert made.stdout.strip()[13:] not in ask("list", "--db", db, "--json").stdout


def test_admin_says_what_it_is_for(db: Path) -> None:
    made = ask("add", "boss", "--scope", "admin", "--db", db, "--json")
    assert json.loads(made.stdout)["scope"] == "admin"
    assert "nothing can be changed over HTTP" in ask("add", "chief", "--scope", "admin", "--db", db).stderr


def test_last_used_and_refusals_are_shown(db: Path) -> None:
    made = ask("add", "reader", "--scope", "feed", "--db", db).stdout.strip()
    with serving(db) as server, client(server) as reader:
        assert reader.get("/v1/schema", headers=bearer(made)).status_code == 200
        assert reader.get("/v1/devices", headers=bearer(made)).status_code == 403
        assert reader.get("/v1/schema", headers=bearer(f"{made}0")).status_code == 401
    told = json.loads(ask("list", "--db", db, "--json").stdout)
    assert told["tokens"][0]["used"] >= told["tokens"][0]["made"]
    assert {(each["kind"], each["subject"], each["source"], each["n"]) for each in told["refused"]} == {
        ("other_scope", "reader", "127.0.0.1", 1), ("wrong_token", "?", "127.0.0.1", 1)}
    shown = ask("list", "--db", db).stdout
    assert "refused in the last day" in shown
    assert "someone guessing" in shown


def test_a_name_has_one_token_until_that_is_revoked(db: Path) -> None:
    first = ask("add", "reader", "--scope", "feed", "--db", db).stdout.strip()
    assert isinstance(ask("add", "reader", "--scope", "admin", "--db", db).exception, ConfigError)
    assert ask("revoke", "reader", "--db", db).exit_code == 0
    assert isinstance(ask("revoke", "reader", "--db", db).exception, ConfigError)
    second = ask("add", "reader", "--scope", "feed", "--db", db).stdout.strip()
    states = {secret: found.state(now()) for secret in (first, second) if (found := tokens.find(db, secret))}
    assert states == {first: "revoked", second: "valid"}


@pytest.mark.parametrize("name", ["", "Reader", "a b", "-x", "x" * 64, "cgt_00000000_" + "0" * 40])
def test_a_bad_name_is_refused_and_a_token_is_not_told_back(db: Path, name: str) -> None:
    for words in (("add", "--scope", "feed"), ("revoke",)):
        error = ask(*words, "--db", db, "--", name).exception
        assert isinstance(error, ConfigError)
        assert not TOKEN.search(str(error))


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert isinstance(ask("list", "--db", tmp_path / "none.db").exception, StoreError)
    (tmp_path / "no.db").write_text("this is no database " * 100)
    assert isinstance(ask("add", "reader", "--scope", "feed", "--db", tmp_path / "no.db").exception, StoreError)


def ingest(db: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "cloud_ingest", "run", "--db", str(db), "--broker", f"127.0.0.1:{loopback_port()}",
            "--scope", "operator", *map(str, more)]


def test_a_real_ingest_does_not_open_itself_to_others(db: Path) -> None:
    ran = subprocess.run(ingest(db, "--http", "0.0.0.0:0"), capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"cornergrid-cloud token add NAME --scope feed --db {db}" in ran.stderr
    assert "--http-cert FILE" in ran.stderr


def test_no_secret_is_told_anywhere(db: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    certificate, port, log = certified(box), loopback_port(), tmp_path / "ingest.log"
    planted: dict[str, str] = {scope: tokens.add(db, scope, scope, 1.0, now()) for scope in tokens.SCOPES}
    planted["revoked"] = tokens.add(db, "revoked", "admin", 1.0, now())
    tokens.revoke(db, "revoked", now())
    planted["wrong"] = f"{planted['feed'][:13]}{'ab' * 20}"
    with log.open("wb") as file, subprocess.Popen(ingest(
            db, "--http", f"127.0.0.1:{port}", "--http-cert", certificate), stdout=file, stderr=file) as process:
        until(lambda: b'"serving"' in log.read_bytes(), "the feed is served")
        told = knock(f"https://127.0.0.1:{port}", box / "root.pem", list(planted.values()))
        arguments = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    said = log.read_text()
    assert all(f'"{kind}"' in said for kind in ("wrong_token", "revoked_token", "token_in_address", "other_scope"))
    told += [said, arguments.decode("latin-1"), *(ask("list", "--db", db, *more).output for more in ((), ("--json",)))]
    told += [path.read_bytes().decode("latin-1") for path in tmp_path.glob("cloud.db*")]
    key = certificate.read_text().split("-----BEGIN PRIVATE KEY-----\n")[1].splitlines()[0]
    for secret in (*(each[13:] for each in planted.values()), key):
        assert [text for text in told if secret in text] == []


def knock(address: str, root: Path, secrets: list[str]) -> list[str]:
    """All that the server says to somebody who shows each secret in every place, but for the sessions' own."""
    told: list[str] = []
    with httpx.Client(base_url=address, verify=ssl.create_default_context(cafile=str(root)), trust_env=False) as reader:
        for secret in secrets:
            for asked in ("/v1/feed", "/v1/devices", "/v1/feed?window=7m", "/v1/nothing", f"/v1/feed?token={secret}",
                          f"/v1/{secret}", f"/v1/feed?after={secret}"):
                answer = reader.get(asked, headers=bearer(secret))
                told += [answer.text, str(answer.headers)]
            answer = reader.post("/login", data={"token": secret})
            told += [answer.text, str(answer.headers), reader.get("/login").text, reader.get("/v1/health").text]
            told += [reader.post("/v1/feed", json={"token": secret}).text,
                     reader.get("/v1/feed", headers={**bearer(secret), "If-None-Match": secret}).text,
                     reader.request(secret.upper().replace("_", "-"), "/v1/feed").text]
    return told


def test_a_support_bundle_leaves_tokens_out() -> None:
    secret = "cgt_0123abcd_" + "0123456789" * 4
    for text in (f"curl -H 'Authorization: Bearer {secret}'", f"it said {secret}, twice", secret.upper(), secret[:20]):
        assert secret[13:20] not in Scrubber().text(text).lower()
