"""Images take turns on their way to the daemon: two at a time, no layer twice."""

from __future__ import annotations

import threading

import pytest

from matrix.engines.docker.loading import Turns

SHARED = ("base", "skeleton", "numpy")


class Sends:
    """Sends images on threads of its own: `begun` says which are on their way, `finish` lets one be there."""

    def __init__(self):
        self.turns, self.there, self.sent, self.begun, self.ends = Turns(), [], [], [], {}

    def known(self, layers):
        return max((sum(a == b for a, b in zip(layers, other, strict=False)) for other in self.there), default=0)

    def start(self, *layers):
        self.ends[layers] = threading.Event(), threading.Thread(target=self.send, args=(layers,), daemon=True)
        self.ends[layers][1].start()
        self.ends[layers][1].join(0.1)

    def send(self, layers):
        with self.turns.turn(layers, lambda: self.known(layers)) as known:
            self.begun.append(layers)
            self.sent += layers[known:]
            assert self.ends[layers][0].wait(10)
            self.there.append(layers)

    def finish(self, *layers):
        event, thread = self.ends[layers]
        event.set()
        thread.join(10)
        for other in self.ends.values():
            other[1].join(0.1)


def test_who_shares_a_layer_on_its_way_waits_and_then_two_go_at_a_time():
    sends = Sends()
    for last in "abcd":
        sends.start(*SHARED, last)
    assert len(sends.begun) == 1
    sends.finish(*sends.begun[0])
    assert len(sends.begun) == 3
    for image in list(sends.begun[1:]):
        sends.finish(*image)
    assert len(sends.begun) == 4
    sends.finish(*sends.begun[3])
    assert sorted(sends.sent) == sorted([*SHARED, *"abcd"])


def test_who_shares_nothing_goes_at_once():
    sends = Sends()
    sends.start("one", "a")
    sends.start("other", "b")
    assert len(sends.begun) == 2
    for image in list(sends.begun):
        sends.finish(*image)


def test_the_next_one_goes_where_one_fails():
    turns = Turns()
    with pytest.raises(OSError, match="failed"), turns.turn(SHARED, lambda: 0):
        raise OSError("failed")
    with turns.turn(SHARED, lambda: 0) as known:
        assert known == 0
