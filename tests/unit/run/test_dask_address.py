"""Which schedulers a run connects to: by TLS, or on this machine."""

from __future__ import annotations

import pytest

from matrix.core.errors import UsageError
from matrix.run.elsewhere.cluster.connecting import checked_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tls://h:8786", "tls://h:8786"),
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("localhost:8786", "tcp://localhost:8786"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_what_is_taken(text: str, address: str) -> None:
    assert checked_address(text, is_open=False) == address


@pytest.mark.parametrize(
    "text", ["tcp://10.0.0.1:8786", "h:8786", "tcp://0.0.0.0:8786", "tcp://127.0.0.1.example:8786"]
)
def test_an_open_one_has_to_be_asked_for(text: str) -> None:
    with pytest.raises(UsageError, match="a scheduler without TLS that other machines reach") as fault:
        checked_address(text, is_open=False)
    assert "runs code on all its workers" in fault.value.tip
    assert checked_address(text, is_open=True).endswith(text)


@pytest.mark.parametrize(
    "text", ["tls://h", "h", "http://h:1", "tls://h:x", "tls://h:1/p", "tls://u@h:1", "inproc://1:2", "tls://h:99999"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected an address such as tls://HOST:8786"):
        checked_address(text, is_open=True)
