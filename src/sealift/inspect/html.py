"""A page -> one HTML file to read, print on A4 in black and white, and sign with a pen.

It needs nothing besides itself: no scripts, no pictures, no network, and its own policy forbids them. Every value
goes through `_shown`, into element content only; no attribute ever holds a word from a bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import hexdigits
from typing import Final

from sealift import __version__
from sealift.inspect.page import Page, Section
from sealift.inspect.visible import visible

_STYLE: Final = """
@page { size: A4; margin: 14mm 15mm 18mm 15mm; font: 8.5pt Arial, Helvetica, sans-serif;
  @bottom-right { content: counter(page) " of " counter(pages) } }
@media print { body { margin: 0 auto !important } }
* { box-sizing: border-box }
html { background: #fff; color: #000 }
body { font: 10.5pt/1.4 "Liberation Sans", Arial, Helvetica, sans-serif; max-width: 179mm; margin: 8mm auto }
header { border-bottom: 2.5pt solid #000; padding-bottom: 3mm; margin-bottom: 4mm }
.state { display: inline-block; font-size: 17pt; font-weight: bold; letter-spacing: .06em; border: 2.5pt solid #000;
  padding: 1mm 4mm }
.state.no { background: #000; color: #fff; -webkit-print-color-adjust: exact; print-color-adjust: exact }
.state.no::before { content: "\\26a0\\00a0" }
h1 { font-size: 20pt; line-height: 1.2; margin: 4mm 0 0; overflow-wrap: anywhere }
h2 { font-size: 12pt; margin: 6mm 0 1.5mm; border-bottom: .8pt solid #000; break-after: avoid; overflow-wrap: anywhere }
.digits { font: bold 15pt/1.5 "Liberation Mono", "Courier New", monospace; border: .8pt solid #000;
  padding: 2mm 3mm; margin: 0 0 2mm; break-inside: avoid }
.digits span { display: inline-block; margin-right: .55em }
.what { font-weight: bold; margin: 3mm 0 1mm; break-after: avoid }
table { border-collapse: collapse; width: 100% }
thead { display: table-header-group }
tr { break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: .7mm 3mm .7mm 0; border-bottom: .4pt solid #999;
  overflow-wrap: anywhere }
th { border-bottom: .8pt solid #000 }
td.figure, th.figure { text-align: right; white-space: nowrap }
table.pairs td:first-child { width: 31mm; font-weight: bold }
table.long td { font-size: 9pt }
table.c3 td:first-child { width: 5mm; font-weight: bold }
table.c3 td:nth-child(2) { width: 60mm }
table.c4 td:nth-child(-n+2) { min-width: 30mm }
table.c4 td:nth-child(3) { min-width: 27mm }
ul { margin: 1mm 0; padding-left: 5mm }
li { overflow-wrap: anywhere }
.alert { border: 1.5pt solid #000; padding: 2mm 4mm; margin: 3mm 0; break-inside: avoid }
.sign { break-inside: avoid; margin-top: 8mm; border: 1.5pt solid #000; padding: 3mm 5mm 5mm }
.sign p { margin: 0 0 3mm }
.sign td { border: 0; padding: 7mm 6mm 0 0; width: 50% }
.sign td div { border-top: .8pt solid #000; padding-top: 1mm; font-size: 9pt }
.tick { display: inline-block; margin-right: 9mm }
.box { display: inline-block; width: 4mm; height: 4mm; border: 1pt solid #000; margin-right: 2mm;
  vertical-align: -0.6mm }
footer { margin-top: 5mm; font-size: 8.5pt }
"""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def draw(page: Page) -> str:
    """A whole HTML document, well formed, that ends with a place for name, date and signature."""
    name = _shown(f"{page.product} {page.version}")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">',
        f"<title>{name}</title><style>{_STYLE}{_every_sheet(page)}</style></head>",
        "<body>",
        f"<header>{_state(page)}<h1>{name}</h1></header>",
        _digits("Identity of the release (SHA-256 of release.json)", page.identity),
    ]
    if page.fingerprint is not None:
        parts.append(_digits("Fingerprint of the trust root that it was checked with", page.fingerprint))
    parts += [_pairs(page.head), _alert("Still missing", page.missing), _alert("Warnings", page.warnings)]
    parts += [_section(section) for section in page.sections]
    parts += [_sign(page), f"<footer>Written by sealift {_shown(__version__)} inspect --html.</footer>"]
    return "\n".join([*(part for part in parts if part), "</body>", "</html>", ""])


def _every_sheet(page: Page) -> str:
    """The identity at the foot of each sheet; only digits, so that no word of a bundle stands in the style."""
    digits = " ".join(groups("".join(digit for digit in page.identity if digit in hexdigits))[:4])
    return f'@page {{ @bottom-left {{ content: "identity {digits} ..." }} }}\n'


def groups(digest: str) -> tuple[str, ...]:
    """A digest in groups of four digits, as people compare them."""
    return tuple(digest[at : at + 4] for at in range(0, len(digest), 4))


def _shown(text: str) -> str:
    return escape(visible(text), quote=True)


def _state(page: Page) -> str:
    return f'<span class="state{"" if page.verified else " no"}">{"" if page.verified else "NOT "}VERIFIED</span>'


def _digits(title: str, digest: str) -> str:
    found = groups(digest)
    lines = (" ".join(f"<span>{_shown(group)}</span>" for group in found[at : at + 8]) for at in (0, 8))
    return f'<p class="what">{_shown(title)}</p>\n<div class="digits">{"<br>".join(lines)}</div>'


def _alert(title: str, sentences: Sequence[str]) -> str:
    return f'<div class="alert"><b>{_shown(title)}</b>{_items(sentences)}</div>' if sentences else ""


def _items(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_shown(sentence)}</li>' for sentence in sentences)}</ul>"


def _section(section: Section) -> str:
    title = f"<h2>{_shown(section.title)}</h2>"
    if section.header:
        return title + _table(section)
    if section.rows and len(section.rows[0]) == 2:
        return title + _pairs(section.rows)
    return title + _items([row[0] for row in section.rows])


def _pairs(rows: Sequence[Sequence[str]]) -> str:
    lines = (f"<tr><td>{_shown(label)}</td><td>{_shown(value)}</td></tr>" for label, value in rows)
    return f'<table class="pairs">{"".join(lines)}</table>'


def _table(section: Section) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="figure">{_shown(cell)}</{tag}>'
            if column in section.right
            else f"<{tag}>{_shown(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )

    head = f"<thead><tr>{cells(section.header, 'th')}</tr></thead>"
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in section.rows)
    kind = f"c{len(section.header)}" + (" long" if len(section.rows) > 12 else "")
    return f'<table class="{kind}">{head}<tbody>{body}</tbody></table>'


def _sign(page: Page) -> str:
    short = " ".join(groups(page.identity)[:2])
    lines = (("Name", "Function"), ("Date", "Signature"))
    rows = "".join(
        f"<tr>{''.join(f'<td><div>{label}</div></td>' for label in labels)}</tr>" for labels in lines
    )
    return (
        f'<section class="sign"><p><b>Decision</b> on {_shown(f"{page.product} {page.version}")}, identity '
        f"{_shown(short)} ...</p><p>{_boxes('identity and fingerprint compared', 'files scanned')}</p>"
        f"<p>{_boxes('approved', 'refused')}</p><table>{rows}</table></section>"
    )


def _boxes(*labels: str) -> str:
    return " ".join(f'<span class="tick"><span class="box"></span>{label}</span>' for label in labels)
