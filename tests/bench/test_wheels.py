"""Whether the box's packages, at the locked versions, are there as wheels for every box that is promised.

Asks the package index, so it is no test of the everyday kind: `make bench`.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
BOXES = [(system, python, arch) for system, python in (("Debian 12, Raspberry Pi OS 12", "3.11"),
                                                       ("Debian 13, Raspberry Pi OS 13", "3.13"))
         for arch in ("x86_64", "aarch64")]
GLIBC = "manylinux_2_28"
"""Older than Debian 12's glibc 2.36, so what fits it fits both."""


def locked() -> str:
    """The lock's versions, without its hashes: a resolver takes them as constraints."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line.removesuffix(chr(92)).strip()}\n" for line in lines if "==" in line and line[:1].strip())


def wanted() -> str:
    """What the agent needs: the project's own dependencies and the extra `edge`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "\n".join([*project["dependencies"], *project["optional-dependencies"]["edge"]])


@pytest.mark.parametrize(("system", "python", "arch"), BOXES)
def test_every_package_of_the_box_is_a_wheel(system: str, python: str, arch: str, tmp_path: Path) -> None:
    (tmp_path / "wanted.in").write_text(wanted())
    (tmp_path / "locked.txt").write_text(locked())
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
         "--only-binary", ":all:", "--python-version", python, "--python-platform", f"{arch}-{GLIBC}",
         "--constraint", "locked.txt", "wanted.in"],
        capture_output=True, text=True, cwd=tmp_path, check=False)
    if "No module named uv" in done.stderr:
        pytest.skip("needs uv: make lock installs it")
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if "==" in line]
    print(f"\n{system}, Python {python}, {arch}: {len(found)} packages, all as wheels: {', '.join(found)}")
    assert any(line.startswith("onnxruntime==") for line in found)
