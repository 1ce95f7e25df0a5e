"""Wheel metadata -> an SPDX licence expression."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.metadata import RawMetadata

# Trove classifiers that name exactly one SPDX licence. The vague ones ("BSD License") are left to the text.
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "zlib/libpng License": "Zlib",
}
# The free text of `License:`, lower case and without punctuation.
_WORDS = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2 0": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2 0": "Apache-2.0",
    "apache license version 2 0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2 0": "Apache-2.0",
    "2 clause bsd": "BSD-2-Clause",
    "bsd 2 clause": "BSD-2-Clause",
    "bsd 2 clause license": "BSD-2-Clause",
    "3 clause bsd": "BSD-3-Clause",
    "3 clause bsd license": "BSD-3-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "bsd 3 clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
    "the mit license": "MIT",
    "the mit license mit": "MIT",
    "mpl 2 0": "MPL-2.0",
    "mozilla public license 2 0": "MPL-2.0",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "public domain": "LicenseRef-Public-Domain",
}
_LICENCE_NAMES = re.compile(r"(licen[cs]e|copying|notice|copyright|authors)", re.IGNORECASE)


# Sentences that only one licence has. The one that stands first in a text is the project's own: the
# licences of what it bundles follow.
_BSD = r"Redistribution and use in source and binary forms"
_PHRASES = tuple(
    (re.compile(phrase, re.IGNORECASE), spdx)
    for phrase, spdx in (
        (r"Apache License\W+Version 2\.0", "Apache-2.0"),
        (r"Mozilla Public License,? Version 2\.0", "MPL-2.0"),
        (r"GNU AFFERO GENERAL PUBLIC LICENSE\W+Version 3", "AGPL-3.0-only"),
        (r"GNU LESSER GENERAL PUBLIC LICENSE\W+Version 3", "LGPL-3.0-only"),
        (r"GNU GENERAL PUBLIC LICENSE\W+Version 3", "GPL-3.0-only"),
        (r"GNU GENERAL PUBLIC LICENSE\W+Version 2", "GPL-2.0-only"),
        (r"Permission is hereby granted, free of charge", "MIT"),
        (_BSD + r".{,1500}?(Neither the name|names of its contributors)", "BSD-3-Clause"),
        (_BSD, "BSD-2-Clause"),
    )
)


def licence_of(metadata: RawMetadata, texts: Sequence[str] = ()) -> str | None:
    """The SPDX expression a wheel states.

    In this order: License-Expression, a known name in `License:`, classifiers that name one licence, the
    wording pasted into `License:`, the wording of `texts` (the licence files) if they agree.

    Returns: None when nothing of this names a licence.
    """
    stated = metadata.get("license_expression") or ""
    pasted = metadata.get("license") or ""
    return (
        _expression(stated)
        or _from_name(pasted)
        or _from_classifiers(metadata.get("classifiers", []))
        or _from_wording(pasted)
        or _agreed(texts)
    )


def licence_files(wheel: zipfile.ZipFile, metadata: RawMetadata) -> tuple[str, ...]:
    """Names inside the wheel of its licence texts: those its metadata lists, and those named like one."""
    listed = {_last(name) for name in metadata.get("license_files", [])}
    inside = [name for name in wheel.namelist() if ".dist-info/" in name and not name.endswith("/")]
    return tuple(sorted(n for n in inside if _last(n) in listed or _LICENCE_NAMES.match(_last(n))))


def licence_texts(wheel: zipfile.ZipFile, names: Sequence[str]) -> list[str]:
    """Their contents; bytes that are no UTF-8 become replacement characters."""
    return [wheel.read(name).decode("utf-8", errors="replace") for name in names]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _from_wording(text: str) -> str | None:
    flat = " ".join(text.split())
    found = [(m.start(), rank) for rank, m in enumerate(p.search(flat) for p, _ in _PHRASES) if m]
    return _PHRASES[min(found)[1]][1] if found else None


def _agreed(texts: Sequence[str]) -> str | None:
    found = {spdx for text in texts if (spdx := _from_wording(text))}
    return found.pop() if len(found) == 1 else None


def _expression(text: str) -> str | None:
    try:
        return str(canonicalize_license_expression(text)) if text.strip() else None
    except InvalidLicenseExpression:
        return None


def _from_name(text: str) -> str | None:
    if len(text) > 100 or "\n" in text.strip():
        return None
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())
    return _WORDS.get(words) or _expression(text)


def _from_classifiers(classifiers: list[str]) -> str | None:
    stated = {c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")} - {"OSI Approved"}
    if not stated or not stated <= _CLASSIFIERS.keys():
        return None
    return " OR ".join(sorted({_CLASSIFIERS[name] for name in stated}))
