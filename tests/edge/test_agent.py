"""One agent to a data folder, and a state that cannot be read is learned again."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.agent import hold_alone
from edge.errors import StoreError
from edge.profile import load_profile
from edge.shelf import Shelf

DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"


def test_a_second_agent_on_one_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = hold_alone(tmp_path)
    with pytest.raises(StoreError, match="another agent"):
        hold_alone(tmp_path)
    assert first is not None
    first.close()
    again = hold_alone(tmp_path)
    assert again is not None
    again.close()


def test_a_state_that_cannot_be_read_is_learned_again() -> None:
    shelf = Shelf(load_profile(DEMO), b"garbage")
    assert set(shelf.levels().values()) == {None}
    assert Shelf(load_profile(DEMO), shelf.snapshot()).levels() == shelf.levels()
