"""The devices of this machine, by the driver that is installed here. The runtime's own list says which there are.

Driver and version are part of the environment's digest, and stand in its evidence.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from matrix.core import processes
from matrix.core.errors import NotRunnable
from matrix.core.keys import Json, digest, sha256
from matrix.core.records import Environment
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.plan.targets import DEVICES

LIST_SECONDS = 60.0
RUN_DRIVERS = {"cuda": "cuda", "rocm": "hip", "vulkan": "vulkan"}
"""A device of a target -> what IREE's runtime calls its driver."""
MANIFESTS = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""Variables that name drivers for Vulkan in the place of those that are installed; of the user's, these are kept."""
_NVIDIA_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(?P<version>[0-9.]+)")
_URI = re.compile(r"^\s*(?P<uri>(?:cuda|hip|vulkan)://\S+)\s*$", re.MULTILINE)
_SUBGROUPS = re.compile(
    r"^subgroup: size=(?P<size>\d{1,3})\b"
    r"(?:.*minSubgroupSize=(?P<least>\d{1,3})\b.*maxSubgroupSize=(?P<most>\d{1,3})\b)?",
    re.MULTILINE,
)
_NAME = re.compile(r"^# --device=\S+\n#\s+(?P<name>\S.{0,200})$", re.MULTILINE)


def present_devices(root: Path = Path("/"), variables: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Those whose driver is on this machine: by the kernel's file, for Vulkan by what its loader would find."""
    files = {"cuda": root / "dev/nvidiactl", "rocm": root / "dev/kfd"}
    here = {name for name, place in files.items() if place.exists()}
    return frozenset(here | ({"vulkan"} if any(_manifests(root, variables)) else set()))


def own_driver(name: str, root: Path = Path("/"), variables: Mapping[str, str] = os.environ) -> dict[str, Json]:
    """The driver of a device: its name and version, and the GPUs as far as the kernel says. For Vulkan the version is
    the sha256 of each driver that its loader would take."""
    if name == "cuda":
        said = _text(root / "proc/driver/nvidia/version")
        found = _NVIDIA_VERSION.search(said)
        models = sorted(_fields(root.glob("proc/driver/nvidia/gpus/*/information"), "Model"))
        return {"name": name, "version": found["version"] if found else "not told", "gpus": list(models)}
    if name == "rocm":
        version = _text(root / "sys/module/amdgpu/version").strip() or _text(root / "proc/sys/kernel/osrelease").strip()
        nodes = sorted(filter(None, map(_amd_gpu, root.glob("sys/class/kfd/kfd/topology/nodes/*/properties"))))
        return {"name": name, "version": version or "not told", "gpus": list(nodes)}
    libraries = {path.name: library for path in _manifests(root, variables) if (library := _library_digest(path))}
    return {"name": name, "version": digest(libraries)[:16], "drivers": sorted(libraries)}


def kept_variables(name: str, variables: Mapping[str, str] = os.environ) -> tuple[tuple[str, str], ...]:
    """The user's variables that say where a driver is."""
    return tuple((each, variables[each]) for each in MANIFESTS if name == "vulkan" and variables.get(each))


def with_own_device(name: str, root: Path, bare: Environment) -> Environment:
    """The environment at `root`, whose runtime sees the device. Raises NotRunnable where it lists none."""
    variables = (*bare.variables, *kept_variables(name))
    known = device_facts(name, replace(bare, root=root, variables=variables))
    if not known["devices"]:
        raise NotRunnable(f"{bare.request_label} lists no {name.upper()} device: {known['said'] or 'it says nothing'}")
    return replace(bare, digest=digest({"bare": bare.digest, "device": known}), variables=variables)


def device_facts(name: str, environment: Environment) -> dict[str, Json]:
    """What results say of the driver of this machine's device, and of the device as the runtime lists it."""
    program = environment.root / environment.tools.get(RUNNER, f"bin/{RUNNER}")
    return own_driver(name) | list_devices(program, name, dict(environment.variables))


def with_device_class(machine: str, facts: Mapping[str, object]) -> str:
    """The class of a machine, with its device and the driver: results of another GPU or driver are another class's."""
    found = facts.get("gpus") or facts.get("names") or facts.get("devices")
    named = ", ".join(map(str, found)) if isinstance(found, list) else ""
    return f"{machine}, {named or 'a device'} ({facts['name']} {facts['version']})"


def list_devices(program: Path, name: str, variables: Mapping[str, str]) -> dict[str, Json]:
    """What a runtime lists: see `read_devices`; and what it said if it lists none."""
    env = {"PATH": os.defpath, "LANG": "C", **variables}
    driver = RUN_DRIVERS[name]
    done = processes.run([str(program), f"--list_devices={driver}"], timeout=LIST_SECONDS, env=env)
    dumped = processes.run([str(program), f"--dump_devices={driver}"], timeout=LIST_SECONDS, env=env)
    found = read_devices(done.stdout, dumped.stdout)
    ended = f"it was ended by signal {-done.exit_code}" if done.exit_code < 0 else ""
    said = "" if found["devices"] else ended or (done.output.strip().splitlines() or [""])[0][:200]
    return {**found, "said": said}


def read_devices(listed: str, dumped: str) -> dict[str, Json]:
    """From the output of `--list_devices` and `--dump_devices`: the devices as `--device` takes them, their names, and
    the sizes of their subgroups where it says them, as 3.13 does."""
    found = list(dict.fromkeys(each["uri"] for each in _URI.finditer(listed)))
    names = list(dict.fromkeys(each["name"] for each in _NAME.finditer(dumped)))
    sizes = sorted({size for each in _SUBGROUPS.finditer(dumped) for size in _sizes(each)})
    return {"devices": list[Json](found), "names": list[Json](names), "subgroups": list[Json](sizes)}


def _sizes(said: re.Match[str]) -> set[int]:
    """A device has the powers of two from its least size to its greatest."""
    least, most = int(said["least"] or said["size"]), int(said["most"] or said["size"])
    return {int(said["size"]), *(size for size in (1 << power for power in range(8)) if least <= size <= most)}


def _manifests(root: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    named = next((variables[each] for each in MANIFESTS if variables.get(each)), "")
    if named:
        yield from (path for word in named.split(os.pathsep) if (path := Path(word)).is_file())
        return
    for folder in ("etc/vulkan/icd.d", "usr/local/share/vulkan/icd.d", "usr/share/vulkan/icd.d"):
        yield from sorted((root / folder).glob("*.json"))


def _library_digest(manifest: Path) -> str:
    """The sha256 of the driver that a manifest names, or of the manifest where the loader searches for it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        named = json.loads(manifest.read_text(encoding="utf-8"))["ICD"]["library_path"]
        library = manifest.parent / named if "/" in named else None
        return sha256(library if library and library.is_file() else manifest)
    return ""


def _fields(files: Iterable[Path], name: str) -> Iterator[str]:
    for path in files:
        for line in _text(path).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                yield value.strip()


def _amd_gpu(properties: Path) -> str:
    """`gfx942` of a node of the kernel's list; empty for a CPU. The number is 90402: major, minor, step."""
    found = re.search(r"^gfx_target_version (\d{1,9})$", _text(properties), re.MULTILINE)
    number = int(found[1]) if found else 0
    return f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}" if number else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


assert set(RUN_DRIVERS) == set(DEVICES)
