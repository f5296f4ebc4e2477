"""Installs and uninstalls in a folder, with the power cut at every call that changes the disk.

A process of its own forks a child for each cut, since a process with threads must not fork. `cut` is either kill -9
before the call, or, for a sync, half of the file on the disk and then kill -9: what was not synced may be torn.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.box import plan
from edge.box.runner import Runner
from edge.box.steps import Step
from edge.box_commands import _finish

CALLS = ("open", "fsync", "replace", "unlink", "mkdir", "symlink", "fchmod")
PROFILE = '[device]\nid = "shop-1"\ndata = "/var/lib/cornergrid"\n'
DATA = Path("/var/lib/cornergrid")
NEW = plan.install_steps(plan.Wanted(("/opt/cornergrid/2/bin/cornergrid-edge",), PROFILE, DATA, "2"))
OLD = plan.install_steps(plan.Wanted(("/opt/cornergrid/1/bin/cornergrid-edge",), PROFILE + "#", Path("/srv/data"), "1"))
GONE = plan.uninstall_steps()
STORIES: dict[str, tuple[tuple[Step, ...] | None, tuple[Step, ...]]] = {
    "install": (None, NEW), "upgrade": (OLD, NEW), "uninstall": (NEW, GONE)}
"""What was installed before, and what is done when the power goes."""
Tree = dict[str, tuple[Any, ...]]


def tree(root: Path) -> Tree:
    """Everything below a folder: kind, mode, content."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        name = f"/{path.relative_to(root)}"
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", mode)
        else:
            found[name] = ("file", mode, path.read_text(errors="replace"))
    return found


def carry_out(root: Path, steps: tuple[Step, ...]) -> None:
    runner = Runner(root)
    changes = plan.changes(steps, runner.there, anew=bool(runner.pending()), commands=False)
    runner.run(steps, changes, lambda _: None)


def start(root: Path) -> bool:
    """What the box does when it starts: systemd runs the unit that completes, where its condition holds."""
    enabled = (root / "etc/systemd/system/multi-user.target.wants/cornergrid-finish.service").is_symlink()
    if not enabled or not (root / plan.FINISH[1:]).exists() or not (root / plan.JOURNAL[1:]).exists():
        return False
    _finish(Runner(root))
    return True


def cut_at(n: int, *, torn: bool, do: Callable[[], None]) -> bool:
    """Do it in a child whose power is cut at its nth call; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def before(*args: Any, **more: Any) -> Any:
                nonlocal count
                if count == n:
                    if torn and name == "fsync" and stat.S_ISREG(os.fstat(args[0]).st_mode):
                        os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return call(*args, **more)
            return before

        for name in ("fsync",) if torn else CALLS:
            setattr(os, name, counted(name, getattr(os, name)))
        do()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def story(folder: Path, name: str, *, torn: bool) -> dict[str, Any]:
    """All cuts of one story, each with the trees after the next start, and after the same was typed again."""
    before, steps = STORIES[name]
    first, root = folder / "first", folder / "root"
    first.mkdir()
    if before is not None:
        carry_out(first, before)
    shutil.copytree(first, folder / "whole", symlinks=True)
    carry_out(folder / "whole", steps)
    cuts = []
    for n in range(10_000):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(first, root, symlinks=True)
        if not cut_at(n, torn=torn, do=lambda: carry_out(root, steps)):
            break
        completed = start(root)
        started = tree(root)
        carry_out(root, steps)
        cuts.append({"n": n, "completed": completed, "started": started, "again": tree(root)})
    return {"before": tree(first), "whole": tree(folder / "whole"), "cuts": cuts}


if __name__ == "__main__":
    json.dump(story(Path(sys.argv[1]), sys.argv[2], torn=sys.argv[3] == "torn"), sys.stdout)
