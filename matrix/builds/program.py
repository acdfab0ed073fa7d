"""What binutils' `readelf` says of an Arm program, as a record. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

ATTRIBUTE = re.compile(r"^\s+Tag_(CPU_arch|THUMB_ISA_use|FP_arch|ABI_VFP_args|CPU_name): (.+)$", re.M)
NEEDED = re.compile(r"\(NEEDED\).*\[(.+?)\]")
LOADER = re.compile(r"program interpreter: (.+?)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFacts:
    """`architecture` such as v6KZ, `float_abi` hard or softfp, `needs` the loader and the libraries, by name."""

    architecture: str
    floating_point: str
    float_abi: str
    needs: tuple[str, ...]


def program_facts(readelf: str) -> ProgramFacts:
    """Of the output of `readelf -h -A -d -l -W`."""
    attributes = dict(ATTRIBUTE.findall(readelf))
    loader = LOADER.findall(readelf)
    hard = "VFP registers" in attributes.get("ABI_VFP_args", "") or "hard-float ABI" in readelf
    return ProgramFacts(
        architecture=attributes.get("CPU_arch", "unknown"),
        floating_point=attributes.get("FP_arch", "none"),
        float_abi="hard" if hard else "softfp",
        needs=tuple(dict.fromkeys([*(path.rpartition("/")[2] for path in loader), *NEEDED.findall(readelf)])),
    )
