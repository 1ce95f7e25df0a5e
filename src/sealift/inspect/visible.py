"""Text of a bundle that nobody vouches for -> text that a terminal or a sheet of paper may show.

A bundle's own words can hold terminal commands, writing-direction marks that turn `exe.doc` round, letters of no
width, or a megabyte. None of that may reach the person who decides.
"""

from __future__ import annotations

from typing import Final

LIMIT: Final = 300
"""Characters of one value that are shown; the rest is counted."""


def visible(text: str, limit: int = LIMIT) -> str:
    """`text` with everything that is not a plain character or space written as an escape (`\\x1b`, `\\u202e`).

    Covers the control, format, surrogate, private and unassigned characters and every separator but the space.
    """
    shown = text if text.isprintable() else "".join(map(_visible_character, text[: limit + 1]))
    if len(text) <= limit:
        return shown
    return f"{shown[:limit]}... ({len(text)} characters)"


def visible_name(text: str) -> str:
    """As `visible`, for names that are ASCII by their own rules: a Cyrillic `а` in a package's name shows."""
    return (
        visible(text) if text.isascii() else visible(text.encode("ascii", "backslashreplace").decode("ascii"))
    )


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def short_of(digest: str) -> str:
    """A digest that the bundle only states, in its short form, or as it is where it is none."""
    return f"sha256:{digest[:4]}-{digest[4:8]}" if len(digest) == 64 else digest


def size_in_words(size: int) -> str:
    """`412 bytes`, `14.2 kB`, `212.2 MB`, `1.6 GB`: powers of 1,000."""
    if size < 1000:
        return f"{size} bytes" if size != 1 else "1 byte"
    for unit, scale in (("kB", 10**3), ("MB", 10**6)):
        if size < scale * 999.95:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 10**9:.1f} GB"


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
