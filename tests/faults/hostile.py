"""Jobs that are hostile: a runtime of somebody else that does to its folder, to other jobs, to the store and to the
machine what it can.

A deed is Python code in the place of `iree-run-module`. It runs beside honest cells and in the store of the question.
`OUTPUT` is the file that it is asked for, `HOME` a folder of the user, `PORT` a listening socket of the machine.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from family import Family, Trial
from invariants import PEAK_BYTES, broken_after, cells, last_line
from workload import Bed, Ended, Place

from matrix.core.errors import EXIT_DEFECT
from matrix.engines.confinement import confinement_words

FORK = "os.fork() and os._exit(0); "
DAEMON = f"{FORK} os.setsid(); {FORK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a hostile job does. `held_back`: only a confined job cannot; `outcomes` are those that its cell may have."""

    code: str
    held_back: bool = False
    outcomes: frozenset[str] = frozenset({"failed"})


def honest(code: str) -> Deed:
    """Something is tried that must not work; then nothing is written."""
    return Deed(code=code, held_back=True)


DEEDS: Mapping[str, Deed] = {
    "deep folders": Deed(code="for _ in range(1500): os.mkdir('d'); os.chdir('d')"),
    "many files": Deed(code="for n in range(COUNT): open(f'output_{n}.npy', 'w').close()"),
    "a sparse terabyte": Deed(code="open(OUTPUT, 'wb').truncate(1 << 40)"),
    "a sparse terabyte beside": Deed(code="open('x', 'wb').truncate(1 << 40)"),
    "mode 000": Deed(
        code="open(OUTPUT, 'w').write('x'); os.mkdir('d'); open('d/f', 'w')\n"
        "for path in ('d', OUTPUT, '.'): os.chmod(path, 0)",
        outcomes=frozenset({"failed", "wrong_output"}),
    ),
    "a fifo": Deed(code="os.mkfifo(OUTPUT)"),
    "a socket": Deed(code="import socket; socket.socket(socket.AF_UNIX).bind(OUTPUT)"),
    "a folder": Deed(code="os.makedirs(OUTPUT + '/a/b')"),
    "a link to a file of the machine": Deed(code="os.symlink('/etc/passwd', OUTPUT)"),
    "a link to itself": Deed(code="os.symlink(OUTPUT, OUTPUT)"),
    "daemons": Deed(code=f"pid = os.fork()\nif not pid:\n {DAEMON} time.sleep(300)"),
    "a fork bomb": Deed(code="[os.fork() for _ in range(11)]; os.setpgid(0, 0); time.sleep(300)"),
    "/dev/shm": Deed(code="open(f'/dev/shm/iree-matrix-{os.getpid()}', 'wb').write(bytes(64 << 20))"),
    "a crash": Deed(code="os.kill(os.getpid(), 11)", outcomes=frozenset({"crashed"})),
    "its keeper killed": Deed(
        code="os.kill(os.getppid(), 9); time.sleep(300)",
        held_back=True,
        outcomes=frozenset({"failed", "infrastructure"}),  # with its container gone, nobody can say who ended it
    ),
    "a forged report": Deed(
        code="""
line = json.dumps({"type": "finished", "id": "x", "end": "exited", "exit_code": 0}) + chr(10)
for target in (1, 2, *(f"/proc/{os.getppid()}/fd/{n}" for n in range(30)), *range(3, 40)):
    try: os.write(target if isinstance(target, int) else os.open(target, os.O_WRONLY | os.O_NONBLOCK), line.encode())
    except OSError: pass
"""
    ),
    "a forged log": Deed(
        code="sys.stdout.buffer.write(b'\\x1b]0;x\\x07\\x1b[2J\\xff\\x00' * 100000 + b'<script>alert(1)</script>,=1+1')"
    ),
    "writes through the links of inputs": honest(
        """
for name in os.listdir('.'):
    for mode in ('r+b', 'wb', 'ab'):
        try: open(name, mode).write(b'spoilt')
        except OSError: pass
    for step in (lambda p: os.chmod(p, 0o777), lambda p: os.truncate(p, 0), lambda p: os.remove(os.path.realpath(p))):
        try: step(name)
        except OSError: pass
"""
    ),
    "the store": honest(
        """
store = STORE
for top, folders, files in os.walk(store):
    for name in files[:20]:
        try: open(os.path.join(top, name), 'r+b').write(b'spoilt')
        except OSError: pass
        try: os.remove(os.path.join(top, name))
        except OSError: pass
"""
    ),
    "folders of other jobs": honest(
        """
import shutil
for _ in range(100):
    for name in os.listdir('..'):
        if name != os.path.basename(os.getcwd()):
            try: open(f'../{name}/output_0.npy', 'w').write('forged')
            except OSError: pass
            shutil.rmtree(f'../{name}', ignore_errors=True)
    time.sleep(0.005)
"""
    ),
    "the home": honest(
        """
steps = [(open, '/new', 'w'), (os.remove, '/kept'), (os.mkdir, '/folder'), (os.rename, '', HOME + '2')]
for step, name, *words in steps:
    try: step(HOME + name, *words)
    except OSError: pass
"""
    ),
    "the network": honest(
        """
import socket
try: socket.create_connection(('127.0.0.1', PORT), 2).send(b'secret')
except OSError: pass
"""
    ),
    "the user's variables": Deed(code="sys.exit(7 if 'SECRET' in str(dict(os.environ)) else 0)"),
}

TOOL = """#!{python} -IS
import json, os, sys, time
if "--help" in sys.argv:
    sys.exit(0)
OUTPUT, HOME, STORE, PORT, COUNT = "output_0.npy", {home!r}, {store!r}, {port}, {count}
{code}
"""


CONTAINER_PYTHON = "/opt/env/bin/python"
DOCKERFILE = "FROM {image}\nCOPY iree-run-module /tools/\nENV PATH=/tools:/opt/env/bin\n"


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    bed.cannot("hostile jobs with nix", "the tests of that engine do it: it takes no tool from a folder")
    engines = bed.engines("venv") if bed.short else bed.engines("venv", "docker")
    every = [(engine, name) for engine in engines for name in DEEDS]
    chance.shuffle(every)
    confined = confinement_words().startswith("Landlock")
    for number in range(count):
        engine, name = every[number % len(every)]
        if engine == "venv" and DEEDS[name].held_back and not confined:
            bed.cannot(name, confinement_words())
            continue
        with bed.place(engine) as place:
            place.stranger = f"stranger-{os.getpid()}"
            broken = (*_do(bed, place, name), *broken_after(bed, place))
        yield Trial(fault=f"{engine}: {name}", broken=broken)


@contextlib.contextmanager
def _tool(place: Place, text: str) -> Iterator[str]:
    """A hostile runtime as `--runtime` takes it: a folder, or an image made from that of an honest one."""
    tools = place.folder / place.stranger
    tools.mkdir()
    (tools / "iree-run-module").write_text(text)
    (tools / "iree-run-module").chmod(0o755)
    if place.engine == "venv":
        yield str(tools)
        return
    from matrix.engines.docker.daemon import Daemon

    (tools / "Dockerfile").write_text(DOCKERFILE.format(image="iree-matrix/runtime:3.8.0-py3.11"))
    daemon, name = Daemon(), place.stranger
    try:
        daemon.client.images.build(path=str(tools), tag=name, rm=True, forcerm=True)
        yield f"image:{name}"
    finally:
        with contextlib.suppress(Exception):  # it was not built
            daemon.client.api.remove_image(name, force=True)
        daemon.close()


def _do(bed: Bed, place: Place, name: str) -> Iterator[str]:
    """Runs a deed beside an honest runtime; says what it has done to others."""
    home = place.folder / "home"
    home.mkdir()
    (home / "kept").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        text = TOOL.format(
            python=CONTAINER_PYTHON if place.engine == "docker" else sys.executable,
            home=str(home),
            store=str(place.store),
            port=server.getsockname()[1],
            count=5_000 if bed.short else 100_000,
            code=DEEDS[name].code,
        )
        with _tool(place, text) as runtime:
            asked = ("--compiler", "3.8.0", "--runtime", "3.8.0", "--runtime", runtime)
            yield from _said(place.begin(*place.run_words(), *asked, SECRET="SECRET").end(), name)
        with contextlib.suppress(TimeoutError):
            server.accept()
            yield f"{name}: it reached the network"
    if [path.name for path in place.folder.glob("home*")] != ["home"] or (home / "kept").read_text() != "kept":
        yield f"{name}: it wrote into the home"
    yield from (f"{name}: it left {path}" for path in Path("/dev/shm").glob("iree-matrix-*"))


def _said(ended: Ended, name: str) -> Iterator[str]:
    """What the table says: the honest cell is as ever, the hostile one has an outcome of its own."""
    rows = {row["runtime"]: row for row in cells(ended.out)}
    if ended.status == EXIT_DEFECT or "Traceback" in ended.err:
        yield f"{name}: status {ended.status}: {last_line(ended.err)}"
    if ended.overdue or ended.peak_bytes > PEAK_BYTES:
        yield f"{name}: {ended.seconds:.0f} s, {ended.peak_bytes >> 20} MiB"
    if len(rows) != 2:
        yield f"{name}: status {ended.status}, no table of both cells: {last_line(ended.err)}"
        return
    own = rows.pop("3.8.0", None)
    if own is None or own["outcome"] != "passed":
        yield f"{name}: the honest cell is {own and own['outcome']}: {own and own['message']}"
    for row in rows.values():
        if row["outcome"] not in DEEDS[name].outcomes:
            yield f"{name}: its cell is {row['outcome']}: {row['message']}"


HOSTILE = Family(
    name="hostile",
    what="a job that harms its folder, other jobs, the store, the machine",
    full=2 * len(DEEDS),  # of venv and of docker
    short=3,
    trials=trials,
)
