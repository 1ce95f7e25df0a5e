"""The C library's heap: memory that a request freed stays with the process for the next one."""

from __future__ import annotations

import ctypes
import logging
from typing import Final

log = logging.getLogger(__name__)

# <malloc.h> of glibc
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 32 * 1024 * 1024
"""Free memory at the top of the heap that is not given back to the kernel."""
OWN_MAPPING_BYTES: Final = 16 * 1024 * 1024
"""Blocks from this size on get a mapping of their own, which ends with them."""


def keep_freed_memory() -> bool:
    """Let tensors and photos reuse warm pages: without it every request faults its pages in anew.

    For the whole process, once, before the first request. Costs up to `KEPT_BYTES` that lie idle.

    Returns: whether the C library took it (glibc does; others have other heaps).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        log.debug("the C library has no mallopt; its heap stays as it is")
        return False
    taken = mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_BYTES)
    return bool(taken)
