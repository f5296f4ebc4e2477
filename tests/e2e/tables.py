"""The tables of attacks as the broker's README has them."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parents[2] / "firmware_configs" / "broker" / "README.md"


def table_of(title: str) -> list[tuple[str, str]]:
    """Name and last column of the numbered rows below a heading."""
    text = README.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    return [(cells[2].strip(), cells[3].strip().strip("`")) for cells in rows if cells[1].strip().isdigit()]
