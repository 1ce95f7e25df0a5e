"""What the papers of a medium say: its facts, the list for `sha256sum -c`, and what to type on the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle
from sealift.carry.writing import OnMedium

SUMS: Final = "SHA256SUMS"
START: Final = "START-HERE.txt"
SHEET: Final = "CARRY-SHEET.html"


@dataclass(frozen=True, slots=True)
class Papers:
    """The facts of a medium. `root` is (version, fingerprint) of the newest root that travels, None without one."""

    product: str
    version: str
    identity: str
    seq: int
    created: str
    made_for: str | None
    target: Mapping[str, Any]
    size: int
    signers: tuple[str, ...]
    officers: tuple[str, ...]
    root: tuple[int, str] | None
    bundle: tuple[OnMedium, ...]
    bootstrap: OnMedium | None

    @property
    def name(self) -> str:
        """`fraud 1.0`."""
        return f"{self.product} {self.version}"

    @property
    def is_cut(self) -> bool:
        """Claims that the bundle lies there in volumes."""
        return ".v01-of-" in self.bundle[0].name or ".v001-of-" in self.bundle[0].name

    @property
    def carried(self) -> tuple[OnMedium, ...]:
        """The files that decide: the bundle's, and the bootstrap."""
        return (*self.bundle, *([self.bootstrap] if self.bootstrap is not None else []))


def papers_of(bundle: UnverifiedBundle, files: Sequence[OnMedium], bootstrap: OnMedium | None) -> Papers:
    """The facts of a bundle and of the files that it became."""
    release = bundle.release
    newest = max(bundle.roots, key=lambda signed: signed.root.version, default=None)
    return Papers(
        product=release.product,
        version=release.version,
        identity=bundle.identity,
        seq=release.seq,
        created=release.created,
        made_for=bundle.made_for if bundle.bases else None,
        target=release.target,
        size=release.total_size,
        signers=tuple(signature.key_id for signature in bundle.signatures),
        officers=tuple(signature.key_id for signature in bundle.approvals),
        root=(newest.root.version, newest.root.fingerprint) if newest is not None else None,
        bundle=tuple(files),
        bootstrap=bootstrap,
    )


def sums(files: Sequence[OnMedium], kept: Sequence[str]) -> str:
    """What `sha256sum -c` reads; lines of an older list stay for files that stay."""
    lines = [f"{item.sha256}  {item.name}" for item in files]
    return "\n".join(sorted({*lines, *kept}, key=lambda line: line[66:])) + "\n"


def start_here(papers: Papers) -> str:
    """START-HERE.txt: English, then Chinese."""
    return "\n".join([*_english(papers), "", "", *_chinese(papers), ""])


def _check(papers: Papers) -> str:
    if papers.is_cut:
        return f"ls | grep -F -f - {SUMS} | sha256sum -c -"
    return f"sha256sum -c {SUMS}"


def _install(papers: Papers) -> str:
    return (
        "sudo sealift install /media/usb"
        if papers.is_cut
        else (f"sudo sealift install /media/usb/{papers.bundle[0].name}")
    )


def _english(papers: Papers) -> list[str]:
    boot, count = papers.bootstrap, len(papers.bundle)
    lines = [
        f"{papers.name}   identity {canonical.short(papers.identity)}   sequence {papers.seq}",
        *([papers.made_for] if papers.made_for else []),
        "",
        "On the box without a network. /media/usb stands for the folder that this file lies in.",
        "",
        "1. Did everything arrive?",
        "     cd /media/usb",
        f"     {_check(papers)}",
        "     cd /",
        f"   Every line must say OK. Then compare {SUMS} with the printed carry sheet, which came another way.",
    ]
    if boot is not None:
        lines += [
            "",
            "2. Only if the box has no sealift yet, and after its digest was compared:",
            f"     sudo sh /media/usb/{boot.name}",
            "   It pins the trust root: leave --trust out below.",
        ]
    lines += [
        "",
        f"{3 if boot else 2}. Install. The first time:",
        f"     {_install(papers)} --trust root.json",
        "   root.json comes from who signs, not from this medium; you type the last digits of its fingerprint.",
        "   Later:",
        f"     {_install(papers)}",
    ]
    if papers.is_cut:
        lines += [
            f"   It comes in {count} volumes. One medium at a time will do, in any order: you are asked for the next.",
        ]
    return [*lines, "", f"{4 if boot else 3}. Look:", "     sealift status"]


def _chinese(papers: Papers) -> list[str]:
    boot, count = papers.bootstrap, len(papers.bundle)
    lines = [
        f"{papers.name}   标识 {canonical.short(papers.identity)}   序号 {papers.seq}",
        *(["增量包：目标机上必须已有旧版本。" + papers.made_for] if papers.made_for else []),
        "",
        "在没有网络的目标机上操作。/media/usb 代表本文件所在的文件夹。",
        "",
        "1. 文件是否完整？",
        "     cd /media/usb",
        f"     {_check(papers)}",
        "     cd /",
        f"   每一行都必须显示 OK。然后将 {SUMS} 与另行送达的纸质随行单核对。",
    ]
    if boot is not None:
        lines += [
            "",
            "2. 仅当目标机上还没有 sealift 时，先核对其校验值，再执行：",
            f"     sudo sh /media/usb/{boot.name}",
            "   它会固定信任根，下面的命令就不必再写 --trust。",
        ]
    lines += [
        "",
        f"{3 if boot else 2}. 安装。首次安装：",
        f"     {_install(papers)} --trust root.json",
        "   root.json 由签名方提供，不得取自本介质；系统会要求输入其指纹的末尾几位。",
        "   以后：",
        f"     {_install(papers)}",
    ]
    if papers.is_cut:
        lines += [f"   本包分为 {count} 卷。每次只需插入一个介质，顺序不限，系统会提示插入下一卷。"]
    return [*lines, "", f"{4 if boot else 3}. 查看：", "     sealift status"]
