"""Words that readers stumbled over, and what to say in their place."""

from __future__ import annotations

import re
from html import unescape

AVOIDED = {
    r"\bbeside\b": "compared with, next to",
    r"in another way|ends? otherwise|ended otherwise|ended the same way": "fails differently, has the same outcome",
    r"could not be had|cannot be had": "unavailable",
    r"taken along|take along": "passed on, downloaded",
    r"loads? what|what which|\bdo what which": "load modules from",
    r"\bjoints?\b": "step",
    r"no outcome looked at": "without looking at any outcome",
    r"\bdearer\b": "executes more, takes longer",
}


def not_plain(said: str) -> dict[str, str]:
    """The avoided words in a text, each with those to say instead."""
    return {found[0]: instead for words, instead in AVOIDED.items() if (found := re.search(words, said))}


def page_words(html: str) -> str:
    """What a reader of a page sees, in one line, without commands and what programs said."""
    shown = re.sub(r"<(select|head|script|pre|code|q|blockquote)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", shown)).split())
