"""What of a wheel no box needs; each entry with its reason, all of them tested on the real wheels.

An entry for every wheel names only what nothing can load. What could be imported, or read at run time, is left
out of named packages only, where it was looked at: `.pyi` files are read by packages that load lazily, and
`scipy.special` has a module that imports tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

EVERY: Final = ""


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """`package` is normalised, or `EVERY`. `patterns` match paths of the layer; `*` spans folders."""

    package: str
    patterns: tuple[str, ...]
    what: str
    reason: str


_TESTS: Final = "its own tests; no module outside them imports one"
_ONNXRUNTIME: Final = (
    LeaveOut(
        "onnxruntime",
        ("onnxruntime/capi/libonnxruntime.so*",),
        "a second engine",
        "for programs in C; Python's module holds the whole engine itself and never opens this copy",
    ),
    LeaveOut(
        "onnxruntime",
        ("onnxruntime/transformers/*", "onnxruntime/tools/*", "onnxruntime/quantization/*"),
        "tools that change models",
        "they work on the connected machine and want onnx or torch beside them",
    ),
    LeaveOut(
        "onnxruntime",
        ("onnxruntime/capi/libonnxruntime_providers_*tensorrt*.so",),
        "unused providers",
        "want TensorRT's libraries, which no release carries: sealift serves on CUDA without",
    ),
)
LEAVE_OUT: Final = (
    LeaveOut(EVERY, ("*.a",), "static libraries", "only a linker reads them"),
    LeaveOut(
        EVERY,
        ("*.pyx", "*.pxd", "*.pxi", "*.pyx.in", "*.pxd.in"),
        "Cython sources",
        "only a compiler reads them",
    ),
    LeaveOut("numpy", ("numpy/tests/*", "numpy/*/tests/*"), "tests", _TESTS),
    LeaveOut("numpy", ("numpy/*.pyi",), "types for editors", "numpy does not load by them"),
    LeaveOut(
        "numpy",
        ("numpy/_core/include/*", "numpy/core/include/*", "numpy/f2py/src/*", "numpy/random/_examples/*"),
        "headers",
        "only a compiler reads them",
    ),
    *_ONNXRUNTIME,
    *(LeaveOut("onnxruntime-gpu", entry.patterns, entry.what, entry.reason) for entry in _ONNXRUNTIME),
    LeaveOut(
        "zstandard",
        ("zstandard/_cffi.*.so",),
        "a second back-end",
        "for PyPy; on CPython zstandard takes the one written in C",
    ),
    LeaveOut(
        "openvino",
        ("openvino/include/*", "openvino/cmake/*", "openvino/libs/pkgconfig/*", "openvino/libs/*.pc"),
        "headers",
        "only a compiler reads them",
    ),
    LeaveOut(
        "openvino",
        (
            "openvino/libs/libopenvino_intel_gpu_plugin.so",
            "openvino/libs/cache.json",
            "openvino/libs/libopenvino_intel_npu_plugin*.so",
        ),
        "plug-ins for other devices",
        "sealift serves OpenVINO on the CPU; the GPU's wants libOpenCL, which no release carries",
    ),
    LeaveOut(
        "openvino",
        tuple(
            f"openvino/libs/libopenvino_{name}_frontend.so*"
            for name in ("gguf", "jax", "paddle", "tensorflow", "tensorflow_lite")
        )
        + tuple(f"openvino/frontend/{name}/*" for name in ("jax", "paddle", "tensorflow")),
        "readers of other formats",
        "they convert models on the connected machine; PyTorch's stays, for torch.compile runs through it",
    ),
    LeaveOut(
        "openvino",
        ("openvino/tools/*", "openvino/libs/libopenvino_c.so*"),
        "converter, benchmark and the C interface",
        "they work on the connected machine, or for programs in C; `import openvino` goes on without",
    ),
    LeaveOut(
        "torch",
        ("torch/include/*", "torch/share/*"),
        "headers",
        "only a compiler reads them; torch.compile needs one, and a box has none",
    ),
    LeaveOut(
        "torch",
        (
            "torch/test/*",
            "torch/bin/test_*",
            "torch/bin/*Test",
            "torch/bin/protoc*",
            "torch/lib/lib*_test.so",
            "torch/lib/libtorchbind_test.so",
            "torch/lib/libbackend_with_compiler.so",
            "torch/lib/libaoti_custom_ops.so",
        ),
        "tests",
        "compiled tests of PyTorch's own, and the compiler of protocol files; nothing loads them",
    ),
    LeaveOut("pandas", ("pandas/tests/*",), "tests", _TESTS),
    LeaveOut("networkx", ("networkx/*/tests/*",), "tests", _TESTS),
    LeaveOut("scikit-learn", ("sklearn/tests/*", "sklearn/*/tests/*"), "tests", _TESTS),
    LeaveOut(
        "scipy",
        ("scipy/*/tests/*",),
        "tests",
        "its own tests; scipy.special._precompute, which makes tables for developers, alone imports one",
    ),
)
_LEGAL = re.compile(
    r"(^|[/._-])(licen[cs]es?|copying|copyright|notices?|authors|thirdparty\w*)([/._-]|$)", re.IGNORECASE
)


def left_out(package: str, path: str) -> LeaveOut | None:
    """The entry that keeps a file of a wheel at home, or None. Texts of licences always travel.

    Args:
        package: the wheel's normalised name. path: below the layer, `numpy/tests/test_reloading.py`.
    """
    if _LEGAL.search(path) and not path.endswith((".py", ".so")):
        return None
    return next(
        (
            entry
            for entry in LEAVE_OUT
            if entry.package in (EVERY, package)
            and any(fnmatchcase(path, pattern) for pattern in entry.patterns)
        ),
        None,
    )


def in_words(left: Iterable[tuple[LeaveOut, int]]) -> tuple[str, ...]:
    """One sentence about all that stays at home, or none.

    Args:
        left: (entry, bytes) of every file that was left out.
    """
    sizes: dict[str, int] = {}
    files = 0
    for entry, size in left:
        sizes[entry.what] = sizes.get(entry.what, 0) + size
        files += 1
    if not files:
        return ()
    what = ", ".join(name for name, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0])))
    return (f"left out: {files} file(s), {sum(sizes.values()) / 1e6:.1f} MB that no box needs ({what})",)
