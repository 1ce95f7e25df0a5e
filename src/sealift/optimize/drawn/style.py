"""The style of the page: light and dark, wide and narrow, and on A4.

Colours are from the Okabe-Ito set, darkened on white and lightened on black until text in them has a contrast of
4.5 to 1 (WCAG 2.2, 1.4.3). Forms and words say the same again.
"""

from __future__ import annotations

from typing import Final

_COLOURS: Final = """
:root { color-scheme: light dark; --page: #f3f5f7; --card: #fff; --ink: #16202a; --soft: #54626f; --line: #dde3e9;
  --ships: #0a5fbf; --reference: #5a6672; --travels: #00735c; --refused: #b3400a; --warn: #7d5200;
  --warn-ground: #fff5dc; --tint: #eef4fb; --beaten: #16202a0b; --mark: #e8f1fb }
@media screen and (prefers-color-scheme: dark) { :root { --page: #0e1419; --card: #172028; --ink: #e9eef3;
  --soft: #a5b2be; --line: #2d3a46; --ships: #74b6ff; --reference: #aab6c1; --travels: #45d0b0; --refused: #ff9a66;
  --warn: #ffcb70; --warn-ground: #2b2310; --tint: #1b2a3a; --beaten: #ffffff0d; --mark: #1f3348 } }
"""

_TEXT: Final = """
* { box-sizing: border-box }
html { background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100% }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", "Noto Sans", Arial, sans-serif;
  max-width: 1080px; margin: 0 auto; padding: 24px 20px 40px; overflow-wrap: anywhere }
h1 { font-size: 30px; line-height: 1.15; margin: 2px 0 0; letter-spacing: -.01em }
h2 { font-size: 20px; line-height: 1.25; margin: 0 0 10px }
h3 { font-size: 16px; line-height: 1.4; margin: 0 0 6px }
h4 { font-size: 13px; font-weight: 600; margin: 0 0 4px; color: var(--soft) }
p { margin: 0 0 8px; max-width: 75ch }
section, header { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 20px 24px;
  margin: 0 0 18px }
header { border-top: 6px solid var(--reference) }
header.win { border-top-color: var(--ships) }
.kind { color: var(--soft); font-size: 13px; letter-spacing: .03em; margin: 0 }
.project { color: var(--soft); margin: 2px 0 0 }
.verdict-sentence { font-size: 24px; line-height: 1.3; font-weight: 650; margin: 16px 0; max-width: none }
.win .verdict-sentence { color: var(--ships) }
.where { color: var(--soft); font-size: 14px; margin: 0 0 4px; max-width: none }
.where b { color: var(--ink); font-weight: 600 }
.none { color: var(--soft) }
code, pre { font-family: ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; font-size: 13px }
pre { background: var(--page); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; margin: 0;
  white-space: pre-wrap }
table code { white-space: pre-wrap }
.reasons { margin: 0 0 10px; padding-left: 20px }
footer { color: var(--soft); font-size: 13px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 0 0 16px }
.tile { background: var(--tint); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px }
.tile b { display: block; font-size: 26px; line-height: 1.2; letter-spacing: -.01em }
.tile span { font-size: 13px; line-height: 1.35; color: var(--soft); display: block; margin-top: 2px }
.badge { display: inline-block; font-size: 12.5px; line-height: 1.3; font-weight: 600; border: 1.5px solid;
  border-radius: 20px; padding: 1px 9px; white-space: nowrap; color: var(--reference) }
.badge.ships { background: var(--ships); border-color: var(--ships); color: var(--card) }
.badge.travels, .badge.passed { color: var(--travels) }
.badge.refused { color: var(--refused); border-style: dashed }
.badge.not-built { border-style: dotted }
.badge.suspected { color: var(--warn); white-space: normal }
.verdict { white-space: nowrap; font-weight: 600 }
.verdict.passed { color: var(--travels) }
.verdict.failed { color: var(--refused) }
.verdict.unclear { color: var(--warn) }
.alarm { background: var(--warn-ground); border: 2px solid var(--warn) }
.alarm h2 { color: var(--warn) }
.alarm article + article { margin-top: 18px; border-top: 1px solid var(--warn); padding-top: 14px }
.alarm .to-write { margin: 10px 0 4px; font-weight: 600 }
.alarm pre { background: var(--card); border: 1px solid var(--warn); font-weight: 700 }
article.variant { border-top: 1px solid var(--line); padding-top: 14px; margin-top: 18px }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 18px }
"""

_TABLES: Final = """
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 0 0 12px }
th.short, td.short { white-space: nowrap }
caption { text-align: left; color: var(--soft); font-size: 13px; padding: 0 0 4px }
th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line) }
th:last-child, td:last-child { padding-right: 0 }
thead th { color: var(--soft); font-size: 12.5px; font-weight: 600 }
tbody th { font-weight: 600 }
.label { display: none }
.figures td { font-variant-numeric: tabular-nums }
.figures tbody th { min-width: 6em; max-width: 20em }
.gates tbody th { min-width: 9em }
.gates td:nth-of-type(n+2) { min-width: 10em }
.files code { font-size: 11.5px }
.bars th { width: 30%; font-weight: 600; font-size: 13px; line-height: 1.35; padding: 5px 14px 5px 0; border: 0 }
.bars td { padding: 5px 0; border: 0 }
.bars .value { display: block; font-size: 13px; line-height: 1.3 }
.bars .note { color: var(--soft) }
.dense th, .dense td { padding-top: 1px; padding-bottom: 1px; vertical-align: middle }
.dense td { display: flex; align-items: center; gap: 14px }
.dense svg { flex: 1 1 40% }
.dense .value { flex: 1 1 50% }
svg.bar + .value b { display: inline-block; min-width: 4.5em }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
dl { margin: 0 }
dt { color: var(--soft); font-size: 12.5px }
dd { margin: 0; font-size: 14px }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 6px 20px; margin: 0 0 12px }
.answers { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px; margin: 0 0 10px }
.answer { border: 1px solid var(--line); border-radius: 10px; padding: 10px 12px; background: var(--page) }
.answer img { display: block; width: 100%; height: 130px; object-fit: contain; border-radius: 6px; margin: 0 0 8px }
.answer .input { font-size: 13px; margin: 0 0 6px }
.answer div + div { margin-top: 4px }
.answer dd { font-weight: 600; line-height: 1.35 }
"""

_PICTURES: Final = """
figure { margin: 0 }
.chart { display: block; width: 100%; height: auto; font-size: 12.5px }
.chart.phone, .key.phone { display: none }
.key { font-size: 13.5px; margin: 6px 0; padding-left: 26px }
.chart text { fill: var(--ink); paint-order: stroke; stroke: var(--card); stroke-width: 3.5px; stroke-linejoin: round }
.chart .end { text-anchor: end }
.chart .middle { text-anchor: middle }
.chart .title { font-weight: 600 }
.chart .tick, .chart .figures { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums }
.chart .name { font-weight: 700 }
.chart .name.ships { fill: var(--ships) }
.chart .name.travels, .chart .name.passed { fill: var(--travels) }
.chart .name.refused { fill: var(--refused) }
.chart .gate { fill: var(--warn); font-size: 11.5px; font-weight: 600 }
.grid { stroke: var(--line); stroke-width: 1; fill: none }
.axis { stroke: var(--soft); stroke-width: 1; fill: none }
.thread { stroke: var(--soft); stroke-width: .8; fill: none }
.beaten { fill: var(--beaten) }
.frontier { stroke: var(--ink); stroke-width: 1.6; fill: none; opacity: .45 }
.bound { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 7 4; fill: none }
.error { stroke-width: 1.4; fill: none; stroke: var(--reference) }
.error.ships { stroke: var(--ships) }
.error.travels, .error.passed { stroke: var(--travels) }
.error.refused { stroke: var(--refused) }
.mark.ships { fill: var(--ships) }
.ring { fill: none; stroke: var(--ships); stroke-width: 1.6 }
.mark.reference { fill: var(--reference) }
.mark.travels { fill: var(--travels) }
.mark.passed { fill: none; stroke: var(--travels); stroke-width: 2.2 }
.mark.refused { fill: none; stroke: var(--refused); stroke-width: 3; stroke-linecap: round }
.legend { list-style: none; margin: 8px 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 20px;
  font-size: 13.5px }
.legend li { display: flex; align-items: center; gap: 7px }
.sample { width: 22px; height: 22px; flex: none }
figcaption p { color: var(--soft); font-size: 13.5px; margin: 0; max-width: none }
svg.bar { display: block; width: 100% }
rect.bar { fill: var(--reference) }
rect.ships, rect.layer { fill: var(--ships) }
rect.travels { fill: var(--travels) }
rect.passed { fill: var(--travels); fill-opacity: .3; stroke: var(--travels); stroke-width: 1.5 }
rect.refused { fill: var(--refused); fill-opacity: .3; stroke: var(--refused); stroke-width: 1.5 }
rect.kept { fill: none; stroke: var(--refused); stroke-width: 1.8; stroke-dasharray: 4 3 }
.sign { width: 16px; height: 16px; vertical-align: -2.5px }
h2 .sign { width: 22px; height: 22px; vertical-align: -4px }
.sign .ground { fill: currentColor }
.sign .line { fill: none; stroke: var(--card); stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
.sign .ring { stroke: currentColor; stroke-width: 1.6; stroke-dasharray: 3 2 }
.sign.unclear .line { stroke: currentColor }
"""

_NARROW: Final = """
@media screen and (max-width: 640px) {
  body { padding: 10px 8px 24px; font-size: 15px }
  section, header { padding: 14px 12px; border-radius: 10px; margin-bottom: 12px }
  h1 { font-size: 24px }
  .verdict-sentence { font-size: 20px; margin: 12px 0 }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px }
  .tile { padding: 8px 10px }
  .tile b { font-size: 21px }
  .pair { display: block }
  .chart.desk, .key.desk { display: none }
  .chart.phone, .key.phone { display: block }
  .cards, .cards tbody, .cards caption, .bars, .bars tbody, .bars tr, .bars th, .bars td,
  .bars caption { display: block }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .cards tr { display: block; border: 1px solid var(--line); border-radius: 8px; padding: 8px 10px; margin: 0 0 8px }
  .cards tbody th { display: block; border: 0; padding: 0 0 4px; max-width: none; font-size: 15px }
  .cards td { display: flex; gap: 10px; border: 0; padding: 2px 0 }
  .cards .label { display: block; flex: 0 0 86px; color: var(--soft); font-size: 13px; line-height: 1.6 }
  .verdict, .badge { white-space: normal }
  .bars th { width: auto; padding: 8px 0 1px }
  .bars td { padding: 0 }
  .dense td { display: block }
  .cards td.absent { display: none }
  .answers { grid-template-columns: 1fr 1fr; gap: 8px }
  .answer { padding: 8px }
  .answer img { height: 100px }
}
@media screen and (max-width: 300px) { .answers, .tiles { grid-template-columns: 1fr } }
"""

_PAPER: Final = """
@page { size: A4; margin: 13mm 13mm 15mm }
@media print {
  html { background: #fff }
  body { padding: 0; max-width: none; font-size: 10pt; line-height: 1.4 }
  section, header { border: 0; border-radius: 0; padding: 0; margin: 0 0 7mm; background: none }
  header { border-top: 2mm solid var(--ink); padding-top: 3mm }
  .alarm { border: .7mm solid var(--warn); padding: 3mm 4mm }
  .tile, pre, .answer { background: none }
  .tile b { font-size: 17pt }
  .tiles { grid-template-columns: repeat(4, 1fr) }
  h1 { font-size: 20pt } .verdict-sentence { font-size: 15pt } h2 { font-size: 13pt } h3 { font-size: 11pt }
  table { font-size: 8.5pt } .files code { font-size: 7pt } caption, .bars .value { font-size: 8.5pt }
  th, td { padding-right: 8px }
  thead th, .badge { font-size: 8pt }
  .bars th, .bars td { padding-top: 1px; padding-bottom: 1px }
  .bars th { font-size: 8pt; width: 33% } dd { font-size: 9pt } dt { font-size: 8pt }
  article.variant { margin-top: 3mm; padding-top: 2mm }
  h2, h3, caption, thead { break-after: avoid }
  tr, figure, .answer, .tile, .reasons li, .pair > section, .badge { break-inside: avoid }
  thead { display: table-header-group }
  .answers { grid-template-columns: repeat(4, 1fr) }
  .badge, rect, circle, path { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""

STYLE: Final = _COLOURS + _TEXT + _TABLES + _PICTURES + _NARROW + _PAPER
