"""CARRY-SHEET.html: one page to print, to compare with and to sign; it needs nothing besides itself.

No script, no picture from elsewhere; its own policy forbids them. Every word goes through `escape`, into element
content only. Chinese stands beside English.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import segno

from sealift import __version__
from sealift.carry.papers import SUMS, Papers
from sealift.carry.writing import OnMedium

_PER_CODE: Final = 8
"""Files in one QR code: with their names and digests it stays below version 25, which a phone reads from paper."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE: Final = """
@page { size: A4; margin: 12mm 14mm }
* { box-sizing: border-box }
html { background: #fff; color: #000 }
body { font: 9.5pt/1.35 "Liberation Sans", Arial, "Noto Sans CJK SC", "WenQuanYi Micro Hei", sans-serif;
  max-width: 182mm; margin: 6mm auto }
@media print { body { margin: 0 auto } }
header { border-bottom: 2.5pt solid #000; padding-bottom: 2mm; margin-bottom: 3mm }
header p { margin: 0 }
h1 { font-size: 19pt; line-height: 1.15; margin: 1mm 0; overflow-wrap: anywhere }
h2 { font-size: 11pt; margin: 4mm 0 1mm; border-bottom: .8pt solid #000; break-after: avoid }
.digits { font: bold 12.5pt/1.45 "Liberation Mono", "Courier New", monospace; border: .8pt solid #000;
  padding: 1.5mm 3mm; margin: 0; break-inside: avoid }
.digits span, .sum span { display: inline-block; margin-right: .5em }
table { border-collapse: collapse; width: 100% }
tr { break-inside: avoid }
td, th { text-align: left; vertical-align: top; padding: .6mm 3mm .6mm 0; border-bottom: .4pt solid #999;
  overflow-wrap: anywhere }
.pairs td:first-child { width: 47mm; font-weight: bold }
.sum { font: 8.5pt/1.35 "Liberation Mono", "Courier New", monospace; border-bottom: .8pt solid #000 }
.name td { border-bottom: 0; font-weight: bold }
.name td:last-child { text-align: right; white-space: nowrap; font-weight: normal; padding-right: 0 }
.beside { display: flex; gap: 6mm }
.beside > div { flex: 1 }
.codes { display: flex; flex-wrap: wrap; gap: 5mm; margin-top: 3mm }
figure { margin: 0; break-inside: avoid; width: 56mm }
figure svg { width: 56mm; height: 56mm; display: block }
figcaption { font-size: 8pt; text-align: center }
.sign { break-inside: avoid; border: 1.5pt solid #000; padding: 2mm 4mm 3mm; margin-top: 4mm }
.sign td { border: 0; padding: 7mm 5mm 0 0; width: 33% }
.sign td div { border-top: .8pt solid #000; padding-top: .6mm; font-size: 8pt }
.sign p { margin: 1mm 0 0 }
.box { display: inline-block; width: 3.5mm; height: 3.5mm; border: 1pt solid #000; margin: 0 1.5mm 0 0;
  vertical-align: -.5mm }
.tick { display: inline-block; margin-right: 6mm }
footer { margin-top: 3mm; font-size: 8pt }
"""


def draw(papers: Papers) -> str:
    """A whole HTML document for A4 in black on white."""
    texts = code_texts(papers)
    codes = [_figure(text, number, len(texts)) for number, text in enumerate(texts, start=1)]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">',
        f"<title>{escape(papers.name)}: carry sheet</title><style>{_STYLE}</style></head>",
        "<body>",
        f"<header><p>Carry sheet &middot; 随行单</p><h1>{escape(papers.name)}</h1></header>",
        _digits("Identity of the release &middot; 发布标识", papers.identity),
        _root(papers),
        _facts(papers, codes[0]),
        _files(papers),
        _more_codes(codes[1:]),
        _signatures(),
        f"<footer>Compare on the box: sha256sum /media/usb/* &middot; 在目标机上核对。 "
        f"Written by sealift {escape(__version__)}.</footer>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(parts)


def code_texts(papers: Papers) -> tuple[str, ...]:
    """What the QR codes hold: the release and the root in the first lines of each, then files by `sha256sum`'s form."""
    files = papers.carried
    parts = [files[at : at + _PER_CODE] for at in range(0, len(files), _PER_CODE)]
    head = [f"sealift {papers.product} {papers.version} seq {papers.seq}", f"release {papers.identity}"]
    head += [f"root {papers.root[1]}"] if papers.root is not None else []
    return tuple(
        "\n".join(
            [*head, f"part {number} of {len(parts)}", *(f"{item.sha256}  {item.name}" for item in part)]
        )
        for number, part in enumerate(parts, start=1)
    )


def _digits(title: str, digest: str) -> str:
    lines = "<br>".join(_groups(digest[at : at + 32]) for at in (0, 32))
    return f'<h2>{title}</h2>\n<div class="digits">{lines}</div>'


def _groups(digits: str) -> str:
    return " ".join(f"<span>{escape(digits[at : at + 4])}</span>" for at in range(0, len(digits), 4))


def _root(papers: Papers) -> str:
    if papers.root is None:
        return "<h2>No trust root travels with it &middot; 未附信任根</h2>"
    version, fingerprint = papers.root
    return _digits(f"Fingerprint of trust root version {version} &middot; 信任根指纹", fingerprint)


def _facts(papers: Papers, code: str) -> str:
    target = papers.target
    box = ", ".join(
        str(part)
        for part in (
            target.get("platform"),
            f"Python {target.get('python')}",
            f"glibc {target['glibc']}" if target.get("glibc") else None,
            f"CUDA {target['cuda']}" if target.get("cuda") else None,
        )
        if part
    )
    rows = [
        ("Sequence &middot; 序号", str(papers.seq)),
        ("Packed &middot; 打包时间", papers.created),
        ("For &middot; 目标机", box),
        ("Size on the box &middot; 安装后大小", f"{papers.size / 1e6:.1f} MB"),
        ("Signed by &middot; 签名密钥", _keys(papers.signers) or "NOBODY YET"),
    ]
    rows += [("Approved by &middot; 批准密钥", _keys(papers.officers))] if papers.officers else []
    rows += [("A delta &middot; 增量包", papers.made_for)] if papers.made_for else []
    lines = "".join(f"<tr><td>{label}</td><td>{escape(value)}</td></tr>" for label, value in rows)
    table = f'<table class="pairs">{lines}</table>'
    return f'<h2>What it is &middot; 内容</h2><div class="beside"><div>{table}</div>{code}</div>'


def _keys(ids: Sequence[str]) -> str:
    return ", ".join(" ".join(key[at : at + 4] for at in range(0, 16, 4)) + " ..." for key in ids)


def _files(papers: Papers) -> str:
    rows = "".join(_file(item) for item in papers.carried)
    return f"<h2>Files and their SHA-256, as in {SUMS} &middot; 文件及其校验值</h2><table>{rows}</table>"


def _file(item: OnMedium) -> str:
    name = f'<tr class="name"><td>{escape(item.name)}</td><td>{item.size:,} bytes</td></tr>'
    return f'{name}<tr><td class="sum" colspan="2">{_groups(item.sha256)}</td></tr>'


def _more_codes(codes: Sequence[str]) -> str:
    return f'<div class="codes">{"".join(codes)}</div>' if codes else ""


def _figure(text: str, number: int, count: int) -> str:
    code = segno.make(text, error="m", micro=False).svg_inline(omitsize=True, border=4)
    which = f" {number}/{count}" if count > 1 else ""
    return f"<figure>{code}<figcaption>the same digits{which} &middot; 扫码核对</figcaption></figure>"


def _signatures() -> str:
    def fields() -> Iterator[str]:
        for who in ("Handed over by &middot; 交出人", "Received by &middot; 接收人"):
            labels = (who, "Date, time &middot; 日期时间", "Signature &middot; 签名")
            yield "<tr>" + "".join(f"<td><div>{label}</div></td>" for label in labels) + "</tr>"

    ticks = (
        "digests compared &middot; 校验值已核对",
        "fingerprint compared &middot; 指纹已核对",
        "scanned &middot; 已查毒",
    )
    boxes = "".join(f'<span class="tick"><span class="box"></span>{tick}</span>' for tick in ticks)
    return f'<section class="sign"><p>{boxes}</p><table>{"".join(fields())}</table></section>'
