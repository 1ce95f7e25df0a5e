"""What fits: the sizes people type, and what the medium's file system takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealift.carry.capacity import DVD_BYTES, FAT32_FILE_BYTES, file_system_of, room_of, volume_bytes
from sealift.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("fat32", 4_294_967_295),
        ("FAT32", 4_294_967_295),
        ("dvd", DVD_BYTES),
        ("700MB", 700_000_000),
        ("2GiB", 2 * 2**30),
        ("4.5 GB", 4_500_000_000),
        ("650MiB", 650 * 2**20),
        ("1000000", 1_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert volume_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "0MB", "much", "-1GB", "4 gigs", "4g", "1e9", "700 Mb", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected fat32, dvd or a size"):
        volume_bytes(text)


def test_a_dvd_leaves_room_for_its_file_system() -> None:
    assert 4_680_000_000 < DVD_BYTES < 4_700_372_992


def test_the_file_system_is_looked_up_where_the_system_lists_mounts(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    number = f"{device >> 8 & 0xFFF}:{device & 0xFF | device >> 12 & 0xFFF00}"
    mounts = tmp_path / "mountinfo"
    line = f"31 23 {number} / /media/My\\040Stick rw,nosuid shared:1 - vfat /dev/sdb1 rw,uid=1000\n"
    mounts.write_text(f"23 1 0:9999 / / rw - ext4 /dev/sda rw\n{line}")
    assert file_system_of(tmp_path, mounts) == "vfat"
    assert room_of(tmp_path, mounts).most_per_file == FAT32_FILE_BYTES
    mounts.write_text(line.replace("vfat", "exfat"))
    assert room_of(tmp_path, mounts).most_per_file is None
    assert file_system_of(tmp_path, tmp_path / "none") == "unknown"
    assert file_system_of(tmp_path) not in ("", "unknown")
