"""The house rules as tests: who may import whom, how long things may be, who may read the clock.

Each rule is a pure function of one module's source, so that a planted violation proves it can fail.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for top in ("edge", "cloud_ingest") for path in (ROOT / top).rglob("*.py")
)
FUNCTION_LINES, MODULE_LINES, CLASS_METHODS = 50, 400, 15

GROUND = {"edge.wire", "edge.clock", "edge.errors", "edge.readings", "edge.backoff"}
SIBLINGS = ("edge.sensors", "edge.vision", "edge.uplink")
SHARED_WITH_CLOUD = {"edge.wire", "edge.clock", "edge.errors"}
# A library that only some files may know: prefixes of their paths.
OWNERS = {
    "onnxruntime": ("edge/vision/onnx.py", "edge/vision/training/"),
    "paho": ("edge/uplink/session.py", "cloud_ingest/subscriber.py"),
    "serial": ("edge/sensors/", "edge/sim/"),
    "pymodbus": ("edge/sensors/modbus", "edge/sim/"),
    "torch": ("edge/vision/training/",),
    "time": ("edge/clock.py",),
    "cryptography": ("edge/identity/", "cloud_ingest/pki/"),
    "segno": ("cloud_ingest/pki/labels.py",),
}
WIRE_MAY_USE = {"__future__", "collections", "dataclasses", "enum", "functools", "json", "math", "re", "typing", "uuid"}
WIRE_MAY_USE |= {"hashlib", "msgspec", "zstandard"}
PRINTS = ("__main__.py", "edge/vision/training/", "edge/sim/demo.py", "edge/sim/command.py")
# Spelt in two halves, so that this file keeps its own rule.
MACHINE_TRACES = ("/wo" "rk/", "/ho" "me/", "/opt/" "pypi", "files.python" "hosted")


def imports(path: str, source: str) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever the import stands; `from a import b` counts as `a.b` too."""
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def bad_arrows(path: str, source: str) -> list[str]:
    """Imports against the arrows of the design."""
    me = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [f"{path}:{line}: imports {name}" for name, line in imports(path, source) if not may_import(me, name)]


def may_import(me: str, name: str) -> bool:
    if within(me, "cloud_ingest"):
        return not within(name, "edge") or name == "edge" or any(within(name, shared) for shared in SHARED_WITH_CLOUD)
    if within(name, "cloud_ingest"):
        return False
    if within(me, "edge.wire"):
        return name.partition(".")[0] in WIRE_MAY_USE or name == "edge" or any(
            within(name, mine) for mine in ("edge.errors", "edge.wire"))
    if any(within(me, ground) for ground in GROUND):
        return not within(name, "edge") or name == "edge" or any(within(name, ground) for ground in GROUND)
    mine = next((package for package in SIBLINGS if within(me, package)), None)
    if mine and within(name, "edge") and name != "edge":
        return within(name, mine) or any(within(name, ground) for ground in GROUND)
    return True


def bad_owners(path: str, source: str) -> list[str]:
    """Libraries imported outside the files that own them."""
    return [
        f"{path}:{line}: {name} belongs to {', '.join(OWNERS[top])}"
        for name, line in imports(path, source)
        if (top := name.partition(".")[0]) in OWNERS and not path.startswith(OWNERS[top])
    ]


def clock_reads(path: str, source: str) -> list[str]:
    """`datetime.now()` and its relatives: time is a parameter."""
    return [
        f"{path}:{node.lineno}: {node.attr}() reads the clock; take an edge.clock.Clock"
        for node in ast.walk(ast.parse(source, path))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
        and ast.unparse(node.value) in {"datetime", "date", "datetime.datetime", "datetime.date", "dt.datetime"}
    ]


def too_long(path: str, source: str) -> list[str]:
    """Modules, functions and classes over the house's sizes."""
    found = []
    if (lines := source.count("\n")) > MODULE_LINES:
        found.append(f"{path}: {lines} lines")
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
        elif isinstance(node, ast.ClassDef):
            methods = sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body)
            if methods > CLASS_METHODS:
                found.append(f"{path}:{node.lineno}: {node.name} has {methods} methods")
    return found


def prints(path: str, source: str) -> list[str]:
    """print() outside the commands: the rest logs events."""
    if any(path.endswith(allowed) or path.startswith(allowed) for allowed in PRINTS):
        return []
    return [
        f"{path}:{node.lineno}: print()"
        for node in ast.walk(ast.parse(source, path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def undescribed(path: str, source: str) -> list[str]:
    """A module that does not say in its first line what it is for."""
    return [] if ast.get_docstring(ast.parse(source, path)) else [f"{path}: no docstring"]


RULES = (bad_arrows, bad_owners, clock_reads, too_long, prints, undescribed)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: object) -> None:
    assert callable(rule)
    assert [fault for path in MODULES for fault in rule(path, (ROOT / path).read_text(encoding="utf-8"))] == []


PLANTED = [
    (bad_arrows, "edge/stock.py", "import cloud_ingest.grid"),
    (bad_arrows, "edge/sensors/x.py", "from edge.vision import camera"),
    (bad_arrows, "edge/vision/x.py", "from edge import profile"),
    (bad_arrows, "edge/uplink/x.py", "def f():\n    import edge.sensors.driver"),
    (bad_arrows, "edge/wire/batch.py", "from edge.sensors import driver"),
    (bad_arrows, "edge/wire/__init__.py", "import numpy"),
    (bad_arrows, "edge/readings.py", "import edge.agent"),
    (bad_arrows, "cloud_ingest/demand.py", "from edge import stock"),
    (bad_arrows, "cloud_ingest/demand.py", "from edge.readings import Reading"),
    (bad_owners, "edge/vision/observe.py", "import onnxruntime as ort"),
    (bad_owners, "edge/agent.py", "from paho.mqtt import client"),
    (bad_owners, "edge/agent.py", "import serial"),
    (bad_owners, "edge/vision/camera.py", "from pymodbus.client import ModbusSerialClient"),
    (bad_owners, "edge/vision/onnx.py", "import torch.nn"),
    (bad_owners, "edge/agent.py", "from time import sleep"),
    (bad_owners, "cloud_ingest/service.py", "import time"),
    (clock_reads, "edge/agent.py", "import datetime\ndatetime.datetime.now()"),
    (clock_reads, "cloud_ingest/feed.py", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
    (too_long, "edge/agent.py", "def long():\n" + "    x = 1\n" * 50),
    (too_long, "edge/agent.py", "x = 1\n" * 401),
    (too_long, "edge/agent.py", "class Wide:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(16))),
    (prints, "edge/agent.py", "print('here')"),
    (undescribed, "edge/agent.py", "x = 1"),
]


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED)
def test_a_planted_violation_is_found(rule: object, path: str, source: str) -> None:
    assert callable(rule)
    assert len(rule(path, source)) >= 1


@pytest.mark.parametrize(("path", "source"), [
    ("cloud_ingest/service.py", "from edge import wire\nfrom edge.errors import WireError"),
    ("edge/agent.py", "from edge.sensors import sampler\nimport edge.vision.camera"),
    ("edge/clock.py", "import time"),
    ("edge/vision/onnx.py", "import onnxruntime"),
])
def test_what_the_arrows_allow_is_left_alone(path: str, source: str) -> None:
    assert bad_arrows(path, source) + bad_owners(path, source) == []


def text_files() -> Iterator[Path]:
    kinds = {".py", ".toml", ".md", ".json", ".html", ".js", ".sql"}
    for top in ("edge", "cloud_ingest", "firmware_configs", "tests", ".ci"):
        yield from (path for path in (ROOT / top).rglob("*") if path.suffix in kinds)
    yield from (ROOT / name for name in ("README.md", "Makefile", "pyproject.toml", "requirements.lock", ".ci/run"))


def test_nothing_names_the_machine_it_was_written_on() -> None:
    traces = re.compile("|".join(map(re.escape, MACHINE_TRACES)))
    found = [path.relative_to(ROOT) for path in text_files() if traces.search(path.read_text(encoding="utf-8"))]
    assert found == []
