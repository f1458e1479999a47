"""Things with their number or their names, for messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as "1 image" or "1,797 images"; ``plural`` where it is not the noun and an s."""
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def all_of(n: int, noun: str) -> str:
    """All of a number of things, such as "all 1,797 images" or "the only image"."""
    return f"the only {noun}" if n == 1 else f"all {n:,} {noun}s"


def any_of(n: int, noun: str) -> str:
    """Any of a number of things, such as "any of the 1,797 images" or "the only image"."""
    return f"the only {noun}" if n == 1 else f"any of the {n:,} {noun}s"


def part_of(n: int, whole: int, noun: str, one: str, several: str) -> str:
    """Some of a number of things with a verb, such as "1 of 60 images has" or "2 of 60 images have"."""
    return f"{n:,} of {counted(whole, noun)} {one if n == 1 else several}"


def none_of(n: int, noun: str) -> str:
    """None of a number of things, such as "none of the 1,797 images"; without the number if it is 1."""
    return f"none of the {noun}s" if n == 1 else f"none of the {n:,} {noun}s"


def named(noun: str, names: Sequence[str]) -> str:
    """Things with their names, such as "a field 'dc'" or "the fields 'dc' and 'dc_loss'"."""
    *first, last = map(repr, names)
    return f"the {noun}s {', '.join(first)} and {last}" if first else f"a {noun} {last}"
