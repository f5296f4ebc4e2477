"""`install` and `uninstall` as they are typed: what is shown, what is refused, and what stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from edge import box_commands
from edge.box import plan, program
from edge.box.plan import Wanted, changes, install_steps
from edge.box.steps import Command, File, There, below
from edge.errors import ConfigError

PASSWORD = "hunter22x"
PROFILE = f"""[device]
id = "shop-1"
data = "/var/lib/cornergrid"
[[cameras]]
name = "cam-1"
source = "rtsp://gate:{PASSWORD}@10.0.0.9/shelf"
"""
THERE = "/opt/cornergrid/bin/cornergrid-edge"
WANTED = Wanted((THERE,), PROFILE, Path("/var/lib/cornergrid"), "1.2.3")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(PROFILE)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder of an image that is being built."""
    path = tmp_path / "image"
    path.mkdir()
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    box_commands.register(app)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def install(shop: Path, image: Path, *more: str) -> Result:
    return run("install", shop, "--root", image, "--program", THERE, *more)


def files(image: Path) -> dict[str, str]:
    return {f"/{path.relative_to(image)}": path.read_text() for path in image.rglob("*")
            if path.is_file() and not path.is_symlink()}


def test_a_dry_run_shows_every_change_and_makes_none(shop: Path, image: Path) -> None:
    done = install(shop, image, "--dry-run")
    assert done.exit_code == 0, done.output
    assert list(image.iterdir()) == []
    for path in (plan.UNIT, plan.FINISH, plan.RULES, plan.LOGS, plan.PROFILE, plan.SYSUSERS, plan.TMPFILES):
        assert f"create  {path}" in done.output.replace("\n", " ")


def test_a_second_run_has_nothing_to_do(shop: Path, image: Path) -> None:
    assert install(shop, image).exit_code == 0
    before = {path: path.lstat().st_mtime_ns for path in image.rglob("*")}
    again = install(shop, image)
    assert again.exit_code == 0
    assert "nothing to do" in again.output
    assert {path: path.lstat().st_mtime_ns for path in image.rglob("*")} == before


def test_a_dry_run_shows_what_is_changed_in_a_file(shop: Path, image: Path) -> None:
    install(shop, image)
    unit = image / plan.UNIT[1:]
    unit.write_text(unit.read_text().replace("WatchdogSec=60", "WatchdogSec=6"))
    shown = install(shop, image, "--dry-run").output
    assert "-WatchdogSec=6\n+WatchdogSec=60" in shown
    rows = json.loads(install(shop, image, "--dry-run", "--json").output)["steps"]
    assert [row["name"] for row in rows if row["what"] != "unchanged"] == [plan.UNIT]


def test_a_password_in_the_profile_is_never_shown(shop: Path, image: Path) -> None:
    shown = install(shop, image, "--dry-run").output + install(shop, image).output
    shop.write_text(PROFILE.replace("shelf", "other"))
    shown += install(shop, image, "--dry-run").output + install(shop, image, "--json").output
    assert plan.PROFILE in shown
    assert PASSWORD not in shown
    assert (image / plan.PROFILE[1:]).stat().st_mode & 0o077 == 0


def test_uninstall_leaves_the_profile_and_nothing_else(shop: Path, image: Path) -> None:
    install(shop, image)
    (image / "var/lib/cornergrid").mkdir(parents=True)
    (image / "var/lib/cornergrid/outbox.db").write_text("not sent yet")
    shown = run("uninstall", "--root", image, "--dry-run").output
    assert f"remove  {plan.UNIT}" in " ".join(shown.split()).replace("remove ", "remove  ")
    assert len(files(image)) > 5
    assert run("uninstall", "--root", image).exit_code == 0
    assert set(files(image)) == {plan.PROFILE, "/var/lib/cornergrid/outbox.db"}
    assert not [path for path in image.rglob("*") if path.is_symlink()]
    assert "nothing to do" in run("uninstall", "--root", image).output


def test_a_change_of_his_own_beside_the_unit_stays(shop: Path, image: Path) -> None:
    install(shop, image)
    own = image / "etc/systemd/system/cornergrid.service.d/override.conf"
    own.parent.mkdir()
    own.write_text("[Service]\nMemoryMax=512M\n")
    install(shop, image)
    run("uninstall", "--root", image)
    assert own.exists()


def test_every_place_in_the_files_is_filled() -> None:
    for step in install_steps(replace(WANTED, systemd=257)):
        if isinstance(step, File):
            assert not {word for word in step.content.split() if word.startswith("@") and word.endswith("@")}
            assert "@DATA@" not in step.content


def test_a_command_runs_only_where_its_files_changed() -> None:
    steps = install_steps(WANTED)
    there: dict[str, There] = {}
    for step in steps:
        if isinstance(step, File):
            there[step.path] = There("file", step.mode, step.content.encode())
    there[plan.RULES] = There("file", 0o644, b"other")
    ran = {each.name.split()[0] for each in changes(steps, there.get)
           if isinstance(each.step, Command) and each.what == "run" and plan.RULES in each.step.of}
    assert ran == {"udevadm"}
    sysusers = next(each for each in changes(steps, there.get) if each.name.startswith("systemd-sysusers"))
    assert sysusers.what == "unchanged"
    anew = [each.what for each in changes(steps, there.get, anew=True) if isinstance(each.step, Command)]
    assert set(anew) == {"run"}


def test_the_backoff_grows_where_systemd_can() -> None:
    def unit(systemd: int) -> str:
        return next(step.content for step in install_steps(replace(WANTED, systemd=systemd))
                    if isinstance(step, File) and step.path == plan.UNIT)

    assert "RestartMaxDelaySec" in unit(254)
    assert "RestartMaxDelaySec" not in unit(252)


@pytest.mark.parametrize(("changed", "words"), [
    ({"data": Path("data")}, "no absolute path"),
    ({"data": Path("/var/lib/../../etc")}, "no absolute path"),
    ({"data": Path("/srv/my data")}, "no absolute path"),
    ({"data": Path("/srv/100%")}, "no absolute path"),
    ({"data": Path("/srv")}, "not a folder of its own"),
    ({"data": Path("/var/lib")}, "not a folder of its own"),
    ({"data": Path("/home") / "pi" / "data"}, "hidden"),
    ({"data": Path("/etc/cornergrid")}, "hidden"),
    ({"command": ("/home" "/pi/venv/bin/cornergrid-edge",)}, "hidden from a service"),
    ({"prefixes": ("/root/.pyenv",)}, "hidden from a service"),
    ({"command": ("/opt/a b/cornergrid-edge",)}, "characters"),
])
def test_what_cannot_work_as_a_service_is_refused(changed: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        install_steps(replace(WANTED, **changed))  # type: ignore[arg-type]  # one field of the table


def test_a_link_out_of_the_image_is_not_followed(shop: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (image / "etc").symlink_to(tmp_path / "outside")
    done = install(shop, image)
    assert isinstance(done.exception, ConfigError)
    assert list((tmp_path / "outside").iterdir()) == []
    with pytest.raises(ConfigError):
        below(image, "/etc/x")


def test_a_relative_model_is_refused(shop: Path, image: Path) -> None:
    shop.write_text(PROFILE + 'model = "own.onnx"\n')
    done = install(shop, image)
    assert isinstance(done.exception, ConfigError)
    assert "cameras[0].model" in str(done.exception)


def test_a_profile_that_cannot_be_used_changes_nothing(shop: Path, image: Path) -> None:
    shop.write_text(PROFILE.replace("[device]", "[devise]"))
    assert isinstance(install(shop, image).exception, ConfigError)
    assert list(image.iterdir()) == []


def test_a_program_behind_a_closed_folder_is_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True)
    closed.chmod(0o700)
    found = {problem.wrong for problem in program.unreachable(program.Program((str(closed / "bin" / "x"),)))}
    assert f"{closed} is closed to the agent's user" in found


def test_wheels_must_hold_one_cornergrid(tmp_path: Path) -> None:
    (tmp_path / "numpy-2.0-py3-none-any.whl").touch()
    with pytest.raises(ConfigError, match="one wheel of cornergrid, has none"):
        program.from_wheels(tmp_path)
    (tmp_path / "cornergrid-1.2.3-py3-none-any.whl").touch()
    found, label, missing = program.from_wheels(tmp_path, tmp_path / "opt")
    assert (found.command, missing) == ((f"{tmp_path}/opt/{label}/bin/cornergrid-edge",), True)
    assert label.startswith("1.2.3-")
    (tmp_path / "opt" / label).mkdir(parents=True)
    (tmp_path / "opt" / label / program.MADE).touch()
    assert program.from_wheels(tmp_path, tmp_path / "opt") == (found, label, False)
    (tmp_path / "numpy-2.0-py3-none-any.whl").write_text("another")
    assert program.from_wheels(tmp_path, tmp_path / "opt")[2]


def test_wheels_that_do_not_fit_are_told_and_not_taken_for_whole(tmp_path: Path) -> None:
    (tmp_path / "cornergrid-1.2.3-py3-none-any.whl").write_text("no wheel")
    found, _, _ = program.from_wheels(tmp_path, tmp_path / "opt")
    with pytest.raises(ConfigError, match="-m pip install"):
        program.make(tmp_path, found)
    assert program.from_wheels(tmp_path, tmp_path / "opt")[2]
