"""The list of system packages is read strictly: nothing of it can be an option, or a path out of its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sealift import canonical
from sealift.errors import MalformedBundle
from sealift.target.system_packages import (
    FOLDER,
    PLACE,
    SystemPackage,
    SystemPackages,
    decode_list,
    encode_list,
    packages_in_bundle,
)

LIB = SystemPackage(
    "libgl1", "1.6.0-1", "amd64", "deb/libgl1_1.6.0-1_amd64.deb", "a" * 64, 88448, "asked for"
)
DATA = replace(LIB, name="libx11-data", version="2:1.8.4-2+deb12u2", architecture="all",
               file="deb/libx11-data_1.8.4-2+deb12u2_all.deb", why="libx11-6 needs it")  # fmt: skip
CARRIED = SystemPackages("deb", (LIB, DATA))


def test_what_is_written_is_read_again_in_one_order() -> None:
    assert decode_list(encode_list(CARRIED)) == CARRIED
    assert encode_list(SystemPackages("deb", (DATA, LIB))) == encode_list(CARRIED)
    assert CARRIED.size == 2 * 88448


def changed(**fields: Any) -> bytes:
    doc = canonical.decode(encode_list(CARRIED), "list")
    doc["packages"][0] |= fields
    return canonical.encode(doc)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "--force-all"},
        {"name": "a b"},
        {"version": "-1"},
        {"version": '1"), os.execute("x'},
        {"architecture": "amd64;x"},
        {"file": "deb/../../../etc/passwd.deb"},
        {"file": "/etc/x.deb"},
        {"file": "rpm/a.rpm"},
        {"file": "deb/a.rpm"},
        {"sha256": "A" * 64},
        {"size": -1},
        {"size": True},
        {"why": "a\nb"},
        {"more": "x"},
    ],
)
def test_anything_in_another_form_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedBundle, match=r"packages\.json"):
        decode_list(changed(**fields))


@pytest.mark.parametrize("key", ["format", "kind", "packages"])
def test_another_document_is_refused(key: str) -> None:
    doc = canonical.decode(encode_list(CARRIED), "list") | {key: "other"}
    with pytest.raises(MalformedBundle, match=r"packages\.json: expected"):
        decode_list(canonical.encode(doc))


@dataclass
class Entry:
    sha256: str


@dataclass
class Listing:
    entries: dict[str, str]

    def files(self) -> Iterator[tuple[str, Entry]]:
        return ((path, Entry(digest)) for path, digest in self.entries.items())


def test_a_bundle_is_asked_for_its_list_and_its_files_must_be_there() -> None:
    data = encode_list(SystemPackages("deb", (LIB,)))
    there = {PLACE: "1" * 64, f"application/{FOLDER}/{LIB.file}": LIB.sha256}
    assert packages_in_bundle(Listing({}), lambda _: data) is None
    assert packages_in_bundle(Listing(there), lambda _: None) is None
    found = packages_in_bundle(Listing(there), lambda digest: data if digest == "1" * 64 else None)
    assert found == SystemPackages("deb", (LIB,))
    with pytest.raises(MalformedBundle, match="is not in the release with that digest"):
        packages_in_bundle(Listing(there | {f"application/{FOLDER}/{LIB.file}": "b" * 64}), lambda _: data)
