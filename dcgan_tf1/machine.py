"""What is known of the machine: its processor, and how many cores this process may use."""

import os
import platform
import re
from pathlib import Path

_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of oneDNN's variable ONEDNN_MAX_CPU_ISA with which it does not compute in bfloat16."""


def usable_cores() -> int:
    """The number of cores that this process may run on, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The name of the processor, as far as the system tells."""
    found = re.search(r"^model name\s*:\s*(.*\S)", _cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def computes_in_bfloat16() -> bool:
    """Whether the processor is known to have bfloat16 instructions (AVX-512 BF16 or AMX), and oneDNN may use them."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BFLOAT16:
        return False
    return any(flag in _cpuinfo() for flag in ("avx512_bf16", "amx_bf16"))


def _cpuinfo() -> str:
    """What Linux tells about its processors; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
