"""Times the dispatches of a module, in the folder of a job: `dispatch_times.py CALLS TRACED PROFILED -- TOOL OPTION…`.

The module is called CALLS times by the TOOL of this Python's package `iree` that Tracy is compiled into, while the
package's capture program takes down each workgroup: TRACED. Where the package has `iree-profile`, the plain TOOL calls
it as often once more, and what the runtime itself notes of each dispatch goes to PROFILED. Tracy's two programs talk
over a free port of the loopback. That the traced program has it, and no other one, is looked up before the capture
starts. Standard library only.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time

REFUSED = "dispatch times: refused: "
"""Before a reason: `matrix/data/signatures.toml` has it."""
PLAIN, TRACING = "_runtime_libs", "_runtime_libs_tracy"
CAPTURE, PROFILE = "iree-tracy-capture", "iree-profile"
QUIET = {
    "TRACY_NO_EXIT": "1",  # it waits until all is captured
    "TRACY_NO_SAMPLING": "1",
    "TRACY_NO_SYS_TRACE": "1",
    "TRACY_NO_CONTEXT_SWITCH": "1",
    "TRACY_NO_CRASH_HANDLER": "1",
    "TRACY_ONLY_LOCALHOST": "1",
    "TRACY_ONLY_IPV4": "1",
}
LOOPBACK, LISTENING = "127.0.0.1", "0A"
PORTS, LISTEN_SECONDS, PAUSE = 3, 60.0, 0.01
BUNDLE = "bundle.ireeprof"


class Refused(Exception):
    """It is not timed, and no fault of the module."""


def main(words: "list[str]") -> int:
    split = words.index("--")
    calls, traced, profiled = words[:split]
    tool, *options = words[split + 1 :]
    options.append(f"--benchmark_min_time={int(calls)}x")
    try:
        status = trace([program(TRACING, tool), *options], program(TRACING, CAPTURE), traced)
        if status == 0 and has(PLAIN, PROFILE):
            status = profile([program(PLAIN, tool), *options], program(PLAIN, PROFILE), profiled)
    except Refused as reason:
        print(f"{REFUSED}{reason}", flush=True)
        return 1
    return status


def folder(name: str) -> str:
    """A folder of the installed package."""
    found = importlib.util.find_spec("iree")
    places = list(found.submodule_search_locations or ()) if found else []
    return next((path for path in (os.path.join(place, name) for place in places) if os.path.isdir(path)), "")


def has(place: str, name: str) -> bool:
    return os.access(os.path.join(folder(place), name), os.X_OK)


def program(place: str, name: str) -> str:
    if not folder(place) or not has(place, name):
        raise Refused(f"this runtime has no {place}/{name}, which the wheels of a release have")
    return os.path.join(folder(place), name)


def trace(command: "list[str]", capture: str, out: str) -> int:
    """Its exit status; 128 + N for signal N."""
    for _ in range(PORTS):
        port = free_port()
        traced = subprocess.Popen(command, env={**os.environ, **QUIET, "TRACY_PORT": str(port)})
        try:
            if not listens(traced, port):
                if traced.poll() is not None:
                    return exit_status(traced.returncode)
                continue  # another program took the port meanwhile
            taken = subprocess.run([capture, "-o", out, "-f", "-a", LOOPBACK, "-p", str(port)], check=False)
            if taken.returncode:
                raise Refused(f"{CAPTURE} ended with exit status {exit_status(taken.returncode)}")
            return exit_status(traced.wait())
        finally:
            if traced.poll() is None:
                traced.kill()
                traced.wait()
    raise Refused(f"the program with Tracy did not listen on its port of {LOOPBACK}, {PORTS} times")


def free_port() -> int:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
            free.bind((LOOPBACK, 0))
            return int(free.getsockname()[1])
    except OSError as error:
        raise Refused(
            f"no port of {LOOPBACK} ({error.strerror}): allow user namespaces on this machine, or take --engine docker"
        ) from None


def listens(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Waits until it listens on the port. False where it ends before, or somebody else has the port."""
    end = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < end and process.poll() is None:
        sockets = listeners(port)
        if sockets:
            return bool(sockets & sockets_of(process.pid))
        time.sleep(PAUSE)
    return False


def listeners(port: int) -> "set[str]":
    """The inodes of the sockets that listen on a port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def sockets_of(pid: int) -> "set[str]":
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:
        pass
    return found


def profile(command: "list[str]", reader: str, out: str) -> int:
    """The runtime's own profile, and each of its dispatches as a line of JSON."""
    options = ("--device_profiling_mode=host-execution", f"--device_profiling_output={BUNDLE}")
    status = exit_status(subprocess.run([*command, *options], check=False).returncode)
    if status:
        return status
    export = [reader, "export", "--format=ireeperf-jsonl", f"--output={out}", BUNDLE]
    status = exit_status(subprocess.run(export, check=False).returncode)
    if status:
        raise Refused(f"{PROFILE} ended with exit status {status}")
    return 0


def exit_status(code: int) -> int:
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
