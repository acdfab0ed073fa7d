"""Logs that are made to cost time: from the parts of a pattern, almost a match, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from re import _compiler as compiler  # type: ignore[attr-defined] # the parse tree has no public name
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

LETTERS = "a0 ._-/:'`\"\n\tA{,;[(="
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)


def tree_of(pattern: str) -> Any:
    return parser.parse(pattern)


def longest_repeats(tree: Any) -> Iterator[int]:
    """The upper bound of each repeat of a pattern, times those of the repeats around it."""
    for operation, argument in tree:
        if operation in REPEATS:
            most = int(argument[1])
            yield most
            yield from (most * inner for inner in longest_repeats(argument[2]))
        elif operation in (codes.SUBPATTERN, codes.ATOMIC_GROUP):
            yield from longest_repeats(argument[3] if operation is codes.SUBPATTERN else argument)
        elif operation is codes.BRANCH:
            yield from (most for branch in argument[1] for most in longest_repeats(branch))
        elif operation in (codes.ASSERT, codes.ASSERT_NOT):
            yield from longest_repeats(argument[1])


def hostile_logs(pattern: str, chance: Random, size: int) -> Iterator[str]:
    """Without end: the beginning of a match and a part of it repeated, or one of its characters, or the whole."""
    tree = tree_of(pattern)
    while True:
        whole = _match(tree, chance)
        first = chance.randrange(len(whole))
        part = whole[first : chance.randrange(first, len(whole)) + 1]
        repeated = chance.choice((part, whole[: first + 1], whole[first], part + "\n", whole + chance.choice(LETTERS)))
        yield (whole[:first] + repeated * (size // len(repeated) + 1))[:size]


def _match(tree: Any, chance: Random) -> str:
    """A text that matches, but for what looks around it."""
    found = []
    for operation, argument in tree:
        if operation is codes.LITERAL:
            found.append(chr(argument))
        elif operation in (codes.IN, codes.NOT_LITERAL, codes.ANY):
            found.append(_letter(operation, argument, chance))
        elif operation in REPEATS:
            least, most, inner = argument
            times = min(max(int(least), chance.randrange(4)), int(most))
            found += [_match(inner, chance) for _ in range(times)]
        elif operation is codes.SUBPATTERN:
            found.append(_match(argument[3], chance))
        elif operation is codes.ATOMIC_GROUP:
            found.append(_match(argument, chance))
        elif operation is codes.BRANCH:
            found.append(_match(chance.choice(argument[1]), chance))
    return "".join(found)


def _letter(operation: Any, argument: Any, chance: Random) -> str:
    """A character of a set; the first one that the set names where none of LETTERS is in it."""
    among = parser.SubPattern(parser.State())
    among.append((operation, argument))
    pattern = compiler.compile(among)
    fitting = [letter for letter in LETTERS if pattern.match(letter)]
    return chance.choice(fitting) if fitting else chr(next(value for code, value in argument if code is codes.LITERAL))
