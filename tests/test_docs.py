"""The README is executed: every `$ command` in it runs, and its tree is the repository's.

A block that follows `<!-- elsewhere: NAME -->` is run by the test of that name instead.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- elsewhere: (?P<elsewhere>\S+) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)


def commands(text: str) -> list[tuple[str, ...]]:
    """The `$ ` lines of each console block that is run here, a tuple for each block."""
    blocks = (match for match in BLOCK.finditer(text) if not match["elsewhere"])
    return [tuple(line[2:] for line in match["body"].splitlines() if line.startswith("$ ")) for match in blocks]


def elsewhere(text: str) -> list[str]:
    """The tests that run the blocks which are not run here."""
    return [match["elsewhere"] for match in BLOCK.finditer(text) if match["elsewhere"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the commands read, so that they change nothing here; the later ones use what the earlier wrote."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("firmware_configs", "Makefile", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.parametrize("block", commands(README), ids=lambda block: block[0][:50])
def test_every_command_of_the_readme_runs(block: tuple[str, ...], folder: Path) -> None:
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for command in block:
        ran = subprocess.run(["/bin/bash", "-ec", command], cwd=folder, env={**os.environ, "PATH": path}, check=False,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("name", elsewhere(README))
def test_what_is_run_elsewhere_is_a_test_that_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8")


def test_an_elsewhere_mark_hides_only_its_own_block() -> None:
    text = "<!-- elsewhere: a::b -->\n```console\n$ one\n```\n\n```console\n$ two\nanswer\n```\n"
    assert commands(text) == [("two",)]
    assert elsewhere(text) == ["a::b"]


def tree(text: str) -> set[str]:
    """The folders that the README's tree names, as paths from the root."""
    body = text.split("```text\ncornergrid/\n", 1)[1].split("```", 1)[0]
    found, above = set(), [""]
    for line in body.splitlines():
        name = line.split()[0] if line.strip() else ""
        if not name.endswith("/"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [above[depth - 1] + name if depth > 1 else name]
        found.add(above[-1].rstrip("/"))
    return found


def folders() -> set[str]:
    """The folders of the repository, two levels deep, that hold tracked files."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parents = {Path(name).parent for name in listed.splitlines()}
    deep = {parent.parts[:2] for parent in parents if parent.parts and not parent.parts[0].startswith(".")}
    return {"/".join(parts) for parts in deep} | {parts[0] for parts in deep}


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="needs the git checkout")
def test_the_tree_names_every_folder_and_no_other() -> None:
    assert tree(README) == folders()


def _started() -> list[str]:
    """What the Makefile's recipes start from the environment: a module, or a command with its words."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    modules = re.findall(r"\$\(BIN\)/python -m ([\w.]+)", text)
    own = re.findall(r"\$\(BIN\)/(cornergrid-\w+(?: [a-z]+)*)", re.sub(r"(?m)^\t@echo.*$", "", text))
    return sorted({*(f"-m {name}" for name in modules if name != "uv"), *own})


@pytest.mark.parametrize("what", _started())
def test_what_a_recipe_starts_is_there(what: str) -> None:
    kind, *words = what.split()
    if kind == "-m":
        # A package is started by its __main__.
        found = importlib.util.find_spec(words[0])
        assert found is not None
        assert found.submodule_search_locations is None or importlib.util.find_spec(f"{words[0]}.__main__")
        return
    asked = [str(ROOT / ".venv" / "bin" / kind), *words, "--help"]
    assert "Usage:" in subprocess.run(asked, capture_output=True, text=True, check=True, timeout=50).stdout
