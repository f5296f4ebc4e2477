"""Text of strangers loses its power and keeps its letters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.plain import plain


@given(st.text())
def test_nothing_is_left_that_is_not_to_be_seen(text: str) -> None:
    assert all(unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in plain(text))
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(("given_text", "shown"), [
    ("Käse 2 € 奶酪 ½", "Käse 2 € 奶酪 ½"), ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"), ("\u202eevil", r"\u202eevil"),
    ("two\nlines", r"two\nlines"), ("\ud800", r"\ud800"), ("a\u200bb", r"a\u200bb"),
])
def test_what_moves_a_cursor_or_hides_is_spelt_out(given_text: str, shown: str) -> None:
    assert plain(given_text) == shown
