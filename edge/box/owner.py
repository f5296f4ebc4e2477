"""Whose files they are: what root leaves in the data folder must be the agent's, who could not write it otherwise."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def for_the_agent(data: Path) -> Iterator[None]:
    """What is done meanwhile by root leaves files in the data folder to whom that folder belongs."""
    try:
        yield
    finally:
        hand_over(data)


def hand_over(data: Path) -> None:
    """Give root's files below a folder to the folder's owner; nothing where that is root, or we are not.

    The folder is a stranger's to root: no link in it is followed, and no file that has a second name is given away.
    """
    if os.geteuid() != 0 or not data.is_dir():
        return
    owner = data.stat()
    if owner.st_uid == 0:
        return
    for _, folders, files, folder in os.fwalk(data, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)
