"""A first profile from a few answers, as TOML that a person can read and go on writing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.box.steps import write_whole
from edge.profile import Profile, parse_profile


@dataclass(frozen=True, slots=True)
class Answers:
    """What the installer said; empty strings mean that there is none. `tls`: also where the broker is on loopback."""

    device: str
    broker: str
    data: str
    scale_port: str = ""
    scale_sku: str = ""
    item_weight: str = ""
    probe_port: str = ""
    camera: str = ""
    camera_sku: str = ""
    tls: bool = False
    made_by: str = "init"


def render(answers: Answers) -> str:
    """The profile's TOML."""
    host, _, port = answers.broker.rpartition(":")
    number = (str(int(port)) if port.isdigit() else toml(port)) if host else "1883"
    lines = [f"# Made by `cornergrid-edge {answers.made_by}`; `cornergrid-edge check` tries all of it.", "", "[device]",
             f"id = {toml(answers.device)}", f"data = {toml(answers.data)}", "", "[uplink]",
             f"host = {toml(host or answers.broker)}", f"port = {number}"]
    lines += ["tls = true"] if answers.tls else []
    if answers.scale_port:
        lines += ["", "[[sensors]]", 'name = "scale-1"', 'driver = "toledo-8217"',
                  f"port = {toml(answers.scale_port)}", 'unit = "kg"', "period_s = 0.5", "", "[[slots]]",
                  'name = "A1"', f"sku = {toml(answers.scale_sku)}", "capacity = 24", 'scale = "scale-1"',
                  f"item_weight = {toml(answers.item_weight)}"]
    if answers.probe_port:
        lines += ["", "[[sensors]]", 'name = "fridge-1"', 'driver = "modbus"', f"port = {toml(answers.probe_port)}",
                  'device = "xy-md02"', "address = 1", "period_s = 5.0"]
    if answers.camera:
        lines += ["", "[[cameras]]", 'name = "cam-1"', f"source = {toml(answers.camera)}", "", "[[slots]]",
                  'name = "B1"', f"sku = {toml(answers.camera_sku)}", "capacity = 12", 'camera = "cam-1"',
                  "region = [0.0, 0.0, 1.0, 1.0]  # the slot's place in the picture: x0, y0, x1, y1"]
    return "\n".join(lines) + "\n"


def write(answers: Answers, path: Path) -> Profile:
    """Write a valid profile to `path`, readable by its owner only: a camera's password may come to stand in it.

    ConfigError, and no file, where the answers do not make one.
    """
    text = render(answers)
    profile = parse_profile(str(path), tomllib.loads(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(), 0o600)
    return profile


def toml(value: Any) -> str:
    """TOML of a plain value; JSON's strings, numbers and lists are TOML's too."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml(key)} = {toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
