"""Text of strangers for a terminal and a log: nothing in it moves a cursor, turns a line round or hides. Pure."""

from __future__ import annotations

import unicodedata

_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control, format (with those that turn the direction of writing), surrogate, private, unassigned; line separators."""


def plain(text: str) -> str:
    """The text with a \\x1b, \\u202e ... in place of each character that is not to be seen."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(each) if unicodedata.category(each) in _HARMFUL else each for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
