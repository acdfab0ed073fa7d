"""What a module says it was compiled for: CPUs, and devices. What its code for a device says of itself: its form, and
whether IREE's header stands before it.

Nothing is executed. Sources: the SPIR-V specification (2.3), PTX's (11.1), LLVM's AMDGPUUsage (ELF header).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_DEVICE_FORMS = {
    b"VKE1": "vulkan-spirv-fb",
    b"CDA1": "cuda-nvptx-fb",
    b"HIP1": "rocm-hsaco-fb",
    b"MTL1": "metal-msl-fb",
}
"""What code for Vulkan, CUDA, HIP and Metal begins with: since 3.9 in a header (iree/hal/utils/executable_header.h), up
to 3.8 as the identifier of the FlatBuffer, behind its first offset."""
_AT_MOST = 8
"""How many descriptions are read from a module."""
_MOST_PIECES = 1000
"""How many pieces of code of one form are read from an executable."""
_SPIRV = re.compile(rb"\x03\x02\x23\x07\x00(?P<minor>[\x00-\x0f])(?P<major>[\x01-\x0f])\x00", re.S)
_PTX = re.compile(rb"\.version\s{1,4}(?P<version>[0-9]{1,3}\.[0-9]{1,3})\s{1,4}\.target\s{1,4}(?P<target>sm_\w{1,9})")
_HSACO = re.compile(rb"\x7fELF\x02\x01\x01\x40.{10}\xe0\x00.{28}(?P<marks>.{4})", re.S)
_GFX = {
    **{0x2C: "gfx900", 0x2F: "gfx906", 0x30: "gfx908", 0x36: "gfx1030", 0x3F: "gfx90a", 0x41: "gfx1100"},
    **{0x44: "gfx1103", 0x46: "gfx1101", 0x47: "gfx1102", 0x48: "gfx1200", 0x4A: "gfx1151", 0x4C: "gfx942"},
    **{0x4E: "gfx1201", 0x4F: "gfx950"},
}
"""The lowest byte of the ELF's flags -> the GPU (EF_AMDGPU_MACH)."""
_LONGEST_HEAD = 400
"""Of the comments before the version of PTX."""
_ELF_HEADER = 64
_ARCHITECTURE = re.compile(rb'#iree_gpu\.target<arch = "([\w.+-]{1,64})"')
_SUBGROUPS = re.compile(rb"subgroup_size_choices = \[([0-9, ]{1,40})\]")


def target_cpus(module: bytes) -> tuple[str, ...]:
    """The CPUs that a module was compiled for, from its messages."""
    found = islice(re.finditer(rb'cpu = "([^"\x00-\x1f\x7f-\xff]{1,64})"', module), _AT_MOST)
    return tuple(sorted({match[1].decode("ascii") for match in found}))


def device_header(content: bytes) -> bool | None:
    """Whether an executable has IREE's header before its FlatBuffer; None: it is not for a device."""
    return True if content[:4] in _DEVICE_FORMS else False if content[4:8] in _DEVICE_FORMS else None


def device_format(content: bytes) -> str:
    """IREE's format of an executable for a device, from its first bytes; "": it is not for a device."""
    return _DEVICE_FORMS.get(content[:4]) or _DEVICE_FORMS.get(content[4:8], "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """A piece of code in an executable. `form` is SPIR-V, PTX or HSACO, `version` that of the form, `device` what it
    says that it is for ("": nothing). `size` is in bytes, 0 where its end is not known."""

    form: str
    version: str
    device: str
    offset: int
    size: int

    @property
    def words(self) -> str:
        """`SPIR-V 1.0`, `PTX 7.6 for sm_80`, `HSACO for gfx942`."""
        return " ".join(filter(None, (self.form, self.version, f"for {self.device}" if self.device else "")))

    def of(self, content: bytes) -> bytes:
        """Its bytes, of the executable's."""
        return content[self.offset : self.offset + self.size]


def device_code(content: bytes) -> tuple[DeviceCode, ...]:
    """The pieces of code for a device in an executable, of each form in their order."""
    if device_header(content) is None:
        return ()
    return (*_spirv_code(content), *_ptx_code(content), *_hsaco_code(content))


def _spirv_code(content: bytes) -> Iterator[DeviceCode]:
    for each in islice(_SPIRV.finditer(content), _MOST_PIECES):
        size = 4 * _length_before(content, each.start(), width=4)
        version = f"{each['major'][0]}.{each['minor'][0]}"
        yield DeviceCode(form="SPIR-V", version=version, device="", offset=each.start(), size=size)


def _ptx_code(content: bytes) -> Iterator[DeviceCode]:
    """It is text between two bytes of zero: the length before it, and its end."""
    for each in islice(_PTX.finditer(content), _MOST_PIECES):
        start = content.rfind(b"\0", max(0, each.start() - _LONGEST_HEAD), each.start()) + 1
        end = content.find(b"\0", each.end())
        version, target = each["version"].decode("ascii"), each["target"].decode("latin-1")
        size = (end if end >= 0 else len(content)) - start
        yield DeviceCode(form="PTX", version=version, device=target, offset=start, size=size)


def _hsaco_code(content: bytes) -> Iterator[DeviceCode]:
    for each in islice(_HSACO.finditer(content), _MOST_PIECES):
        number = each["marks"][0]
        device, at = _GFX.get(number, f"machine {number:#x}"), each.start()
        yield DeviceCode(form="HSACO", version="", device=device, offset=at, size=_elf_size(content, at))


def _elf_size(content: bytes, at: int) -> int:
    """Up to the end of the table of sections, which LLVM writes last; 0 where that is not inside."""
    header = content[at : at + _ELF_HEADER]
    if len(header) < _ELF_HEADER:
        return 0
    (table,), (width, count) = struct.unpack_from("<Q", header, 40), struct.unpack_from("<HH", header, 58)
    size = int(table + width * count)
    return size if _ELF_HEADER < size <= len(content) - at else 0


def _length_before(content: bytes, at: int, *, width: int) -> int:
    """The length that a FlatBuffer has before a vector, in elements of so many bytes; 0 where they are not inside."""
    if at < 4:
        return 0
    (length,) = struct.unpack_from("<I", content, at - 4)
    return int(length) if length and at + length * width <= len(content) else 0


def device_architectures(module: bytes) -> tuple[str, ...]:
    """What a module was compiled for, from its messages: `sm_80`, `gfx942`, `vp_android_baseline_2022`."""
    found = islice(_ARCHITECTURE.finditer(module), _AT_MOST)
    return tuple(sorted({match[1].decode("ascii") for match in found}))


def device_subgroups(module: bytes) -> tuple[int, ...]:
    """The sizes of a subgroup that a module assumes, from its messages."""
    found = islice(_SUBGROUPS.finditer(module), _AT_MOST)
    return tuple(sorted({int(number) for match in found for number in re.findall(rb"[0-9]{1,9}", match[1])}))
