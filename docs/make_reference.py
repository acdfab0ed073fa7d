"""Makes docs/reference.md from the code: `nox -s docs`. A test fails while the page and the code differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from matrix.cli.options import IMAGE_VERBS
from matrix.cli.verbs import VERBS, make_parser
from matrix.core import errors

PAGE = Path(__file__).with_name("reference.md")
HEAD = """# Reference

This page is made from the code, by `nox -s docs`. `python -m matrix run --help` says the same of one verb.
"""
ANY = """Every verb takes `--store FOLDER`, the place of results, environments and files.
The default is `iree-matrix` in the cache folder of the user."""


def page() -> str:
    """The whole page as Markdown."""
    verbs = _choices(make_parser())
    verbs |= {f"image {name}": command for name, command in _choices(verbs["image"]).items()}
    texts = VERBS | {f"image {name}": text for name, text in IMAGE_VERBS.items()}
    told = [[f"`{_words(name, verbs[name])}`", text] for name, text in texts.items() if name != "image"]
    parts = [HEAD, "## Verbs\n", _table(["verb", "what it does"], told), "\n## Options\n", ANY]
    for names, options in _options(verbs).items():
        parts += [f"\n{names}\n", *options]
    heads = ["status", "meaning", "what the message says in particular"]
    return "\n".join([*parts, "\n## Exit statuses\n", _table(heads, _statuses()), ""])


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the verbs below a parser."""
    return next(dict(action.choices) for action in parser._actions if isinstance(action.choices, dict))


def _words(name: str, command: argparse.ArgumentParser) -> str:
    """A verb with its arguments and the options that it cannot do without."""
    words = [name]
    for action in command._actions:
        word = _value(action)
        if action.option_strings:
            words += [f"{action.option_strings[0]} {word}"] if action.required else []
        else:
            words.append({"?": f"[{word}]", "*": f"[{word} …]", "+": f"{word} …"}.get(str(action.nargs), word))
    return " ".join(words)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _options(verbs: dict[str, argparse.ArgumentParser]) -> dict[str, list[str]]:
    """Options with their meanings, below the verbs that share them. What means the same stands once."""
    takers: dict[tuple[str, str], list[str]] = {}
    for name, command in verbs.items():
        for action in command._actions:
            if action.option_strings and action.dest not in ("help", "store") and name != "image":
                option = f"`{', '.join(action.option_strings)} {_value(action)}".rstrip() + "`"
                takers.setdefault((option, _meaning(action)), []).append(f"`{name}`")
    alike: dict[tuple[str, str], list[str]] = {}
    for (option, meaning), names in takers.items():
        alike.setdefault((", ".join(names), meaning), []).append(option)
    shared: dict[str, list[str]] = {}
    for (taking, meaning), options in alike.items():
        shared.setdefault(taking, []).append(f"- {', '.join(options)}: {meaning}")
    return shared


def _meaning(action: argparse.Action) -> str:
    """The help, with the machine's own values left out."""
    text = (action.help or "").replace("%(default)s", str(action.default))
    if action.dest == "machine":
        text = "default: this machine's"
    if action.choices is not None:
        text = f"{' or '.join(map(str, action.choices))}; {text}"
    return text


def _statuses() -> Iterator[list[str]]:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in named if issubclass(kind, errors.MatrixError) and kind is not errors.MatrixError]
    for status, meaning in errors.STATUSES.items():
        yield [str(status), meaning, "<br>".join(kind.meaning for kind in kinds if kind.exit_code == status)]


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
