"""kill -9 and torn writes at every step of install, upgrade and uninstall: the next start completes or undoes it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edge.box import plan
from edge.box.runner import Runner
from edge.box.steps import Command, File, Gone, Step
from edge.errors import ConfigError

ROOT = Path(__file__).parents[3]
INERT = {plan.JOURNAL, plan.FINISH}
"""What may lie about and does nothing: the note, and the unit that completes, while no link starts it."""


def played(folder: Path, name: str, how: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "tests.edge.box.power_cut", str(folder), name, how],
                          capture_output=True, text=True, check=False, cwd=ROOT, timeout=50)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def live(tree: dict[str, Any]) -> dict[str, Any]:
    """What has an effect: no folders, no files that were never renamed into place, nothing inert."""
    enabled = f"{Path(plan.UNIT).parent}/multi-user.target.wants/cornergrid-finish.service" in tree
    return {name: what for name, what in tree.items()
            if what[0] != "folder" and not name.endswith(".part") and (enabled or name not in INERT)}


@pytest.mark.parametrize("how", ["killed", "torn"])
@pytest.mark.parametrize("name", ["install", "upgrade", "uninstall"])
def test_the_next_start_completes_or_undoes(name: str, how: str) -> None:
    memory = Path("/dev/shm")  # thousands of syncs, which a disk takes its time for
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        found = played(Path(folder), name, how)
    before, whole = live(found["before"]), live(found["whole"])
    assert before != whole
    assert len(found["cuts"]) > (10 if how == "torn" else 40)
    outcomes = set()
    for cut in found["cuts"]:
        started = live(cut["started"])
        if cut["completed"]:
            assert cut["started"] == found["whole"], cut["n"]
        assert started in (before, whole), cut["n"]
        outcomes.add("done" if started == whole else "undone")
        assert cut["again"] == found["whole"], cut["n"]
    assert outcomes == {"done", "undone"}


def carry_out(root: Path, *steps: Step) -> list[str]:
    """Do steps as a box does, commands too; the names of what was done."""
    runner, said = Runner(root), list[str]()
    changes = plan.changes(steps, runner.there, anew=bool(runner.pending()))
    runner.run(steps, changes, lambda each: said.append(each.name))
    return said


def test_a_command_that_fails_leaves_the_note_and_all_commands_run_again(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    steps = (File("/etc/a.conf", "a"), Command(("touch", str(mark)), ("/etc/a.conf",)),
             Command(("test", "-e", str(gate)), ("/etc/a.conf",)))
    with pytest.raises(ConfigError, match="exit code 1"):
        carry_out(tmp_path, *steps)
    assert Runner(tmp_path).pending() == steps
    mark.unlink()
    gate.touch()
    assert carry_out(tmp_path, *steps) == [f"touch {mark}", f"test -e {gate}"]
    assert mark.exists()
    assert Runner(tmp_path).pending() == ()
    assert carry_out(tmp_path, *steps) == []


def test_a_command_that_may_fail_ends_nothing(tmp_path: Path) -> None:
    assert carry_out(tmp_path, Command(("false",), may_fail=True), Command(("/no/such",), may_fail=True))
    assert Runner(tmp_path).pending() == ()


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/no/such"):
        carry_out(tmp_path, Command(("/no/such",)))


def test_an_uninstall_takes_the_place_of_an_install_that_was_interrupted(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with pytest.raises(ConfigError):
        carry_out(tmp_path, File("/etc/a.conf", "a"), Command(("false",)))
    carry_out(tmp_path, Gone("/etc/a.conf"))
    assert not (tmp_path / "etc" / "a.conf").exists()
    assert Runner(tmp_path).pending() == ()


@pytest.mark.parametrize("content", [b"", b"x", b"cornergrid install 1 00000000\n[]", b"\xff\n\xff"])
def test_a_damaged_note_counts_as_none(tmp_path: Path, content: bytes) -> None:
    note = tmp_path / plan.JOURNAL[1:]
    note.parent.mkdir(parents=True)
    note.write_bytes(content)
    assert Runner(tmp_path).pending() == ()


def test_the_note_is_for_root_alone(tmp_path: Path) -> None:
    """It holds the profile, and with it the cameras' passwords."""
    with pytest.raises(ConfigError):
        carry_out(tmp_path, Command(("false",)))
    assert (tmp_path / plan.JOURNAL[1:]).stat().st_mode & 0o777 == 0o600
