"""The reader of JSON from elsewhere: a value, or one fault; never another exception, never what breaks later."""

from __future__ import annotations

import json

import pytest

from matrix.artifacts.json_reader import JsonFault, read_json


def test_json_is_read():
    value = {"a": [1, 2.5, -3e10, True, None, "é\n\u2028😀"], "b": {}, "big": 2**64}
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": NaN}', "read the number NaN, expected a finite one"),
        (b'{"a": -Infinity}', "read the number -Infinity"),
        (b"[1e999]", "read the number 1e999"),
        (b"[" + b"9" * 400 + b"]", "expected a finite one"),
        (b"[" * 100_000, "levels of lists and tables"),
        (b"[" * 65 + b"]" * 65, "levels of lists and tables"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "levels of lists and tables"),
        (b'["\\ud800"]', "half of a surrogate pair (U+D800)"),
        (b'{"\\uDC00x": 1}', "half of a surrogate pair (U+DC00)"),
        (b"\xff\xfe", "bytes that are no text"),
        (b"", "line 1: read nothing more, expected JSON"),
        (b"{", "expecting property name"),
        (b"{} x", "read 'x', expected JSON (extra data)"),
    ],
)
def test_what_is_refused(content, words):
    with pytest.raises(JsonFault) as caught:
        read_json(content)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_is_deep_enough_for_everything_of_ours():
    assert read_json(b"[" * 64 + b"]" * 64)
    assert read_json(b'["\\ud83d\\ude00"]') == ["😀"]
