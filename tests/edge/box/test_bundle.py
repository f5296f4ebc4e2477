"""The support bundle as it is typed: what is in it, what stays on the box, and what is said of both."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from edge import box_commands
from edge.documents import Documents
from edge.uplink.outbox import Outbox
from edge.wire import Fact

PNG = b"\x89PNG a shelf"
RECORDING = 'cornergrid recording 1 serial\n{"sensor": "scale-1"}\n0.012345 > 57\n0.013120 < 02 30\n'


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A box with an outbox, documents, a baseline and a recording, and its profile."""
    path, data = tmp_path / "shop.toml", tmp_path / "data"
    path.write_text(f'[device]\nid = "shop-1"\ndata = "{data}"\n[[cameras]]\nname = "cam-1"\n'
                    'source = "rtsp://gate:1234@10.0.0.9/shelf"\n')
    outbox = Outbox(data / "outbox.db")
    outbox.put([Fact("scale-1/weight", 1.79e9, "kg", 1.0)])
    outbox.close()
    documents = Documents(data)
    documents.keep_check(1.0, [{"part": "cam-1", "ok": False, "found": "no rtsp://gate:1234@10.0.0.9/", "fix": ""}])
    for folder, name, content in (("baseline", "cam-1.png", PNG), ("raw", "scale-1.rec", RECORDING.encode())):
        (data / folder).mkdir()
        (data / folder / name).write_bytes(content)
    (tmp_path / "agent.log").write_text('<6>{"event": "running"}\nrtsp://gate:1234@10.0.0.9/shelf went away\n')
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    box_commands.register(app)
    app.command()(lambda: None)
    return CliRunner().invoke(app, ["support-bundle", *(str(each) for each in arguments)])


def bundle(shop: Path, *more: object) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files of a bundle by name, and what the command said of it."""
    target = shop.parent / "bundle.tar.gz"
    done = run(shop, "--out", target, "--log", shop.parent / "agent.log", "--json", *more)
    assert done.exit_code == 0, done.output
    with tarfile.open(target) as archive:
        files = {info.name.removeprefix("cornergrid/"): archive.extractfile(info) for info in archive}
        return {name: file.read() for name, file in files.items() if file}, json.loads(done.stdout)


def test_a_bundle_holds_what_a_helper_needs(shop: Path) -> None:
    files, told = bundle(shop)
    assert set(files) == {"versions.json", "profile.json", "status.json", "outbox.json", "documents.json",
                          "logs/1-agent.log", "raw/scale-1.rec", "manifest.json"}
    assert {each["name"]: each["bytes"] for each in told["files"]} == {
        name: len(content) for name, content in files.items() if name != "manifest.json"}
    assert json.loads(files["outbox.json"])["records"] == 1
    assert json.loads(files["outbox.json"])["sound"] is True
    assert json.loads(files["status.json"])["records"] == 1
    versions = json.loads(files["versions.json"])
    assert versions["packages"]["msgspec"]
    assert versions["kernel"] == os.uname().release
    assert files["raw/scale-1.rec"].decode() == RECORDING
    assert json.loads(files["profile.json"])["cameras"][0]["source"] == "rtsp://***@10.0.0.9/shelf"
    assert [check["ok"] for check in json.loads(files["documents.json"])["checks"].values()] == [False]


def test_no_login_is_in_it(shop: Path) -> None:
    files, _ = bundle(shop)
    whole = b"\n".join(content for name, content in files.items() if name != "raw/scale-1.rec")
    assert b"gate:" not in whole
    assert b":1234@" not in whole


def test_pictures_come_only_where_asked_for(shop: Path) -> None:
    files, told = bundle(shop)
    assert PNG not in files.values()
    assert any(each["name"] == "pictures" and "--with-pictures" in each["why"] for each in told["left_out"])
    (shop.parent / "bundle.tar.gz").unlink()
    files, _ = bundle(shop, "--with-pictures")
    assert files["pictures/cam-1.png"] == PNG


def test_it_says_what_is_in_it_and_what_is_not(shop: Path) -> None:
    target = shop.parent / "b.tar.gz"
    done = run(shop, "--out", target, "--log", shop.parent / "agent.log")
    assert "raw/scale-1.rec" in done.output
    assert "left out  state.json: is not there" in done.output
    assert f"wrote {target}" in done.output
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_bundle_that_is_there_is_not_overwritten(shop: Path) -> None:
    target = shop.parent / "b.tar.gz"
    target.write_text("mine")
    done = run(shop, "--out", target)
    assert isinstance(done.exception, FileExistsError)
    assert target.read_text() == "mine"


def test_a_profile_that_cannot_be_read_comes_along_as_text(shop: Path) -> None:
    shop.write_text(shop.read_text() + "[[cameras]\n")
    files, told = bundle(shop, "--data", shop.parent / "data")
    assert b"rtsp://***@10.0.0.9/shelf" in files["profile.txt"]
    assert b"1234" not in files["profile.txt"]
    assert "raw/scale-1.rec" in files
    assert "status.json" not in files
    assert told["file"]


def test_a_damaged_box_still_gives_a_bundle(shop: Path) -> None:
    data = shop.parent / "data"
    (data / "outbox.db").write_bytes(b"\x00" * 4096)
    (data / "documents.json").write_text('{"checks": {"1": {"password": "planted"')
    (data / "raw" / "scale-1.rec").write_bytes(b"\xff\xfe")
    files, _ = bundle(shop)
    assert b"planted" not in files["documents.json"]
    assert {"versions.json", "profile.json", "logs/1-agent.log", "raw/scale-1.rec"} <= set(files)


def test_a_link_in_the_data_folder_is_not_followed(shop: Path) -> None:
    """The folder is the agent's, and the bundle is made by root: a link would show a stranger what only root reads."""
    data, other = shop.parent / "data", shop.parent / "shadow"
    other.write_text("root's own")
    (data / "raw" / "scale-1.rec").unlink()
    (data / "raw" / "scale-1.rec").symlink_to(other)
    (data / "state.json").symlink_to(other)
    os.mkfifo(data / "raw" / "pipe.rec")
    files, told = bundle(shop)
    assert not any(b"root's own" in content for content in files.values())
    assert {"raw/scale-1.rec", "raw/pipe.rec", "state.json"} <= {each["name"] for each in told["left_out"]}
    assert "documents.json" in files


def test_a_log_that_is_not_there_is_named(shop: Path) -> None:
    target = shop.parent / "b.tar.gz"
    done = run(shop, "--out", target, "--log", shop.parent / "none.log", "--json")
    assert {"name": "logs/1-none.log", "why": "is not there"} in json.loads(done.stdout)["left_out"]


def test_only_the_end_of_a_long_log_is_taken(shop: Path) -> None:
    log = shop.parent / "agent.log"
    with log.open("w") as file:
        for n in range(5_000):
            file.write(f'{{"event": "read", "what": "{"x" * 1000}", "n": {n}}}\n')
    files, _ = bundle(shop)
    assert len(files["logs/1-agent.log"]) <= 4 * 1024 ** 2 + 100
    assert files["logs/1-agent.log"].endswith(b'"n": 4999}\n')
