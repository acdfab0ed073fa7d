"""What a module says it was compiled for: CPUs, and devices. What its code for a device says of itself: its form, and
whether IREE's header stands before it.

Nothing is executed. Sources: the SPIR-V specification (2.3), PTX's (11.1), LLVM's AMDGPUUsage (ELF header).
"""

from __future__ import annotations

import re
from itertools import islice

_DEVICE_FORMS = (b"VKE1", b"CDA1", b"HIP1", b"MTL1")
"""What code for Vulkan, CUDA, HIP and Metal begins with: since 3.9 in a header (iree/hal/utils/executable_header.h), up
to 3.8 as the identifier of the FlatBuffer, behind its first offset."""
_AT_MOST = 8
"""How many descriptions are read from a module, and pieces of code from an executable."""
_SPIRV = re.compile(rb"\x03\x02\x23\x07\x00(?P<minor>[\x00-\x0f])(?P<major>[\x01-\x0f])\x00", re.S)
_PTX = re.compile(rb"\.version\s{1,4}(?P<version>[0-9]{1,3}\.[0-9]{1,3})\s{1,4}\.target\s{1,4}(?P<target>sm_\w{1,9})")
_HSACO = re.compile(rb"\x7fELF\x02\x01\x01\x40.{10}\xe0\x00.{28}(?P<marks>.{4})", re.S)
_GFX = {0x3F: "gfx90a", 0x41: "gfx1100", 0x4C: "gfx942"}
"""The lowest byte of the ELF's flags -> the GPU, as far as compiled here."""
_ARCHITECTURE = re.compile(rb'#iree_gpu\.target<arch = "([\w.+-]{1,64})"')
_SUBGROUPS = re.compile(rb"subgroup_size_choices = \[([0-9, ]{1,40})\]")


def target_cpus(module: bytes) -> tuple[str, ...]:
    """The CPUs that a module was compiled for, from its messages."""
    found = islice(re.finditer(rb'cpu = "([^"\x00-\x1f\x7f-\xff]{1,64})"', module), _AT_MOST)
    return tuple(sorted({match[1].decode("ascii") for match in found}))


def device_header(content: bytes) -> bool | None:
    """Whether an executable has IREE's header before its FlatBuffer; None: it is not for a device."""
    return True if content[:4] in _DEVICE_FORMS else False if content[4:8] in _DEVICE_FORMS else None


def device_code(content: bytes) -> tuple[str, ...]:
    """The forms of code in an executable, such as `SPIR-V 1.3`, `PTX 7.6 for sm_80`, `HSACO for gfx942`."""
    if device_header(content) is None:
        return ()
    words = [f"SPIR-V {each['major'][0]}.{each['minor'][0]}" for each in islice(_SPIRV.finditer(content), _AT_MOST)]
    for each in islice(_PTX.finditer(content), _AT_MOST):
        words.append(f"PTX {each['version'].decode('ascii')} for {each['target'].decode('latin-1')}")
    for each in islice(_HSACO.finditer(content), _AT_MOST):
        number = each["marks"][0]
        words.append(f"HSACO for {_GFX.get(number, f'machine {number:#x}')}")
    return tuple(dict.fromkeys(words))


def device_architectures(module: bytes) -> tuple[str, ...]:
    """What a module was compiled for, from its messages: `sm_80`, `gfx942`, `vp_android_baseline_2022`."""
    found = islice(_ARCHITECTURE.finditer(module), _AT_MOST)
    return tuple(sorted({match[1].decode("ascii") for match in found}))


def device_subgroups(module: bytes) -> tuple[int, ...]:
    """The sizes of a subgroup that a module assumes, from its messages."""
    found = islice(_SUBGROUPS.finditer(module), _AT_MOST)
    return tuple(sorted({int(number) for match in found for number in re.findall(rb"[0-9]{1,9}", match[1])}))
