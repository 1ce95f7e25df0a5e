"""The tool asks itself, in its own interpreter: its modules, its arithmetic, and whether it reads this box."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sealift
from sealift import canonical

OF_A_RELEASE: Final = frozenset(
    {
        "PIL",
        "cykooz_resizer",
        "google",
        "hpack",
        "httptools",
        "msgspec",
        "numpy",
        "onnxruntime",
        "openvino",
        "simplejpeg",
        "tokenizers",
        "torch",
        "uvloop",
    }
)
"""What only workers import: a service's release brings it, the tool does not."""

# RFC 8032, 7.1, TEST 2.
_PUBLIC: Final = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
_MESSAGE: Final = "72"
_SIGNATURE: Final = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# FIPS 180-4, the example of one block.
_ABC: Final = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
# RFC 8878: a frame with its content size, one compressed block and no checksum; 1000 times "sealift ".
_FRAME: Final = bytes.fromhex("28b52ffd60401e850000407365616c69667420010035bfbe7001")
_FRAME_HOLDS: Final = b"sealift " * 1000
# RFC 8785, 3.2.3: keys in the order of their UTF-16 code units.
_UNSORTED: Final = {"\u20ac": 1, "\r": 2, "1": 3, "\U0001f600": 4, "\u0080": 5, "\ufb33": 6}
_SORTED: Final = '{"\\r":2,"1":3,"\u0080":5,"\u20ac":1,"\U0001f600":4,"\ufb33":6}'


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that the tool asked itself; `detail` is a sentence."""

    name: str
    ok: bool
    detail: str


Question = Callable[[], str]
"""Returns a sentence with the figures. Raises: anything: it does not hold."""


def ask(name: str, question: Question) -> Told:
    """Put a question; whatever is raised is the answer that it does not hold."""
    try:
        return Told(name, True, question())
    except Exception as error:  # noqa: BLE001 - a self-test reports whatever breaks, a crash tells less
        return Told(name, False, f"{type(error).__name__}: {error}")


def own_questions() -> dict[str, Question]:
    """What every sealift must hold, whatever the box."""
    return {"modules": modules, "signatures": signatures, "digests": digests, "zstd": zstd, "json": json}


def modules(package: Path = Path(sealift.__file__).parent) -> str:
    """Import everything that travelled; only what workers need of a release may be missing."""
    count, broken, without = 0, [], 0
    for name in _module_names(package):
        try:
            importlib.import_module(name)
            count += 1
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OF_A_RELEASE:
                broken.append(f"{name}: {error}")
            without += 1
        except Exception as error:  # noqa: BLE001 - as in `ask`
            broken.append(f"{name}: {type(error).__name__}: {error}")
    if broken:
        raise ImportError("; ".join(broken))
    return f"{count} import, {without} wait for a release's packages"


def _module_names(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] != "__main__" and "__pycache__" not in parts:
            yield ".".join((package.name, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def signatures() -> str:
    """Ed25519 accepts a known signature and refuses it over another message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(_PUBLIC))
    key.verify(bytes.fromhex(_SIGNATURE), bytes.fromhex(_MESSAGE))
    try:
        key.verify(bytes.fromhex(_SIGNATURE), b"another")
    except InvalidSignature:
        return "Ed25519 verifies a known signature, and refuses a wrong one"
    raise ValueError("Ed25519 accepts a signature over another message")


def digests() -> str:
    """SHA-256 of a known text."""
    _require_same("SHA-256", hashlib.sha256(b"abc").hexdigest(), _ABC)
    return "SHA-256 as published"


def zstd() -> str:
    """A known frame decompresses to what went in."""
    import zstandard

    found = zstandard.ZstdDecompressor().decompress(_FRAME)
    _require_same("zstd", hashlib.sha256(found).hexdigest(), hashlib.sha256(_FRAME_HOLDS).hexdigest())
    return f"a frame of {len(_FRAME)} bytes gives its {len(found)}"


def json() -> str:
    """Canonical JSON of the standard's own example."""
    _require_same("canonical JSON", canonical.encode(_UNSORTED).decode(), _SORTED)
    return "RFC 8785 as published"


def _require_same(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(f"{what}: expected {expected!r}, found {found!r}")
