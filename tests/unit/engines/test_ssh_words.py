"""The words between the orchestrator and a board, and what a board says of itself: pure."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import pytest

from matrix.core.records import Limits
from matrix.engines.ssh.connection import explained
from matrix.engines.ssh.facts import read_facts
from matrix.engines.ssh.orders import BoardFile, BoardOrder, Reply, board_end_of, is_output, order_text, read_times

ZERO = """machine armv6l
system Linux
kernel 6.1.21+
libc glibc 2.36
free 6000000
folder /tmp/iree-matrix.812.1
temp 48312
scaling_cur_freq 1000000
cpuinfo processor: 0
cpuinfo model name: ARMv6-compatible processor rev 7 (v6l)
cpuinfo Features: half thumb fastmult vfp edsp java tls
cpuinfo Hardware: BCM2835
cpuinfo Model: Raspberry Pi Zero Rev 1.3
memory 439356 kB""".splitlines()
"""As a Raspberry Pi Zero has it in its files."""


def test_what_a_board_says_of_itself():
    facts = read_facts(ZERO)
    assert facts.machine_class == (
        "armv6l, ARMv6-compatible processor rev 7 (v6l), Raspberry Pi Zero Rev 1.3, 1 core, Linux 6.1.21, CPU flags vfp"
    )
    assert (facts.temperature, facts.clock, facts.memory_kib) == (48.312, 1000.0, 439356)
    assert facts.fault("arm") == ("", "")
    newer = [line.replace("6.1.21+", "6.6.2").replace("48312", "60000") for line in ZERO]
    assert read_facts(newer).identity == facts.identity  # its results stay
    assert read_facts([line.replace("2.36", "2.31") for line in ZERO]).identity != facts.identity


@pytest.mark.parametrize(
    ("change", "machine", "words"),
    [
        (("", ""), "x86_64", "it is armv6l, and the target's programs are for x86_64"),
        (("free 6000000", "free 900"), "arm", "900 KiB are free in /tmp there, expected 16384"),
        (("system Linux", "lacks timeout"), "arm", "it lacks timeout"),
        (("6.1.21+", "2.6.32"), "arm", "its kernel is 2.6.32, expected 3.2 or newer"),
    ],
)
def test_a_board_that_cannot_run_a_target(change: tuple[str, str], machine: str, words: str):
    why, tip = read_facts([line.replace(*change) if change[0] else line for line in ZERO]).fault(machine)
    assert why == words and tip


def test_a_damaged_word_is_no_fact():
    facts = read_facts(["machine", "free much", "temp hot", "kernel", "what is this", ""])
    assert (facts.machine, facts.free_kib, facts.temperature, facts.kernel, facts.cores) == ("", 0, None, "", 1)


def order(**more: object) -> BoardOrder:
    words: dict[str, object] = {
        "argv": ("./run", "it's"),
        "files": (),
        "folder": Path("/f"),
        "limits": Limits(seconds=5, output_bytes=10_000),
    }
    return BoardOrder(job_id="job", **{**words, **more})  # type: ignore[arg-type]


def test_an_order_is_shell_that_nothing_breaks_out_of():
    digest = hashlib.sha256(b"x").hexdigest()
    file = BoardFile(name="a b;$(c)", digest=digest, path=Path("x"), program=True)
    text = order_text(order(files=(file,), outputs=("output_*.npy", "$(rm)")), {"LANG": "C"})
    assert text.decode().splitlines() == [
        f"ln -s \"$here/files/{digest}\" 'a b;$(c)' || return 1",
        f'chmod 700 "$here/files/{digest}" || return 1',
        "outputs='output_*.npy'",
        "ulimit -f 19 2>/dev/null",
        'set -- env -i LANG=C HOME="$here/job" TMPDIR="$here/job" ./run \'it\'"\'"\'s\'',
    ]


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        (Reply(status=0), ("exited", 0, 0)),
        (Reply(status=3, free_kib=10**6), ("exited", 3, 0)),
        (Reply(status=128 + signal.SIGSEGV), ("signalled", 0, signal.SIGSEGV)),
        (Reply(status=137, begun=1, ended=6), ("timed_out", 0, 0)),
        (Reply(status=137, begun=1, ended=2), ("signalled", 0, signal.SIGKILL)),
        (Reply(status=128 + signal.SIGXFSZ), ("over_limit", 0, 0)),
        (Reply(status=1, free_kib=12), ("lost", 0, 0)),
        (Reply(status=0, free_kib=12), ("lost", 0, 0)),  # an output may be cut short
        (Reply(status=126, log=b"env: ./run: Exec format error\n"), ("not_started", 0, 0)),
        (Reply(), ("lost", 0, 0)),
        (Reply(status=0, fault="no space"), ("lost", 0, 0)),
    ],
)
def test_how_a_job_ended(reply: Reply, end: tuple[str, int, int]):
    found = board_end_of(order(), reply, killed=False)
    assert (found.end, found.exit_code, found.signal) == end
    assert board_end_of(order(), reply, killed=True).end == "killed"


def test_small_words():
    assert read_times(["0m0.01s 0m0.00s", "1m2.50s 0m0,25s"]) == 62.75
    assert read_times([]) == 0
    assert is_output("output_0.npy", ("output_*.npy",))
    assert not is_output("../output_0.npy", ("*",)) and not is_output("other", ("output_*.npy",))


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "is not the known one"),
        ("No ED25519 host key is known for pi and you have requested strict checking.", "is not known here"),
        ("ssh: Could not resolve hostname pi: Name or service not known", "there is no such host"),
        ("ssh: connect to host 10.0.0.9 port 22: Connection timed out", "it does not answer"),
        ("Timeout, server 10.0.0.9 not responding.", "it does not answer"),
        ("client_loop: send disconnect: Broken pipe", "the link was cut"),
        ("pi@10.0.0.9: something new", "SSH ended with an error"),
        ("bash: sh: command not found", "its login shell runs no `sh`"),
        ("/bin/sh: ef: not found\nKilled", "SSH ended with an error"),
        ("", "without a reason"),
    ],
)
def test_what_openssh_says_means(said: str, meaning: str):
    assert meaning in str(explained(said))
    assert "10.0.0.9" not in str(explained(said))
