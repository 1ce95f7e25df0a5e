"""What the project promises about speed, held against the figures of one run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from results import Results

OURS, BARE, ECHO, GUIDE = "sealift", "bare loop", "echo", "flask-torchscript"
CASE_TITLES = {
    "tab": "Table model, JSON on /predict (peers: their own form)",
    "tabv2": "Table model, the longer V2 JSON body",
    "img": "EfficientNet-Lite0 fp32, base64 JPEG in JSON",
    "img8": "EfficientNet-Lite0 static INT8, base64 JPEG in JSON (as it would be shipped)",
    "raw": "EfficientNet-Lite0 fp32, 602,112 bytes of tensor",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise: `found` is None when this run did not measure it."""

    text: str
    bound: float
    found: float | None
    at_most: bool = False

    @property
    def holds(self) -> bool | None:
        if self.found is None:
            return None
        return self.found <= self.bound if self.at_most else self.found >= self.bound

    def __str__(self) -> str:
        word = {True: "pass", False: "FAIL", None: "-"}[self.holds]
        found = "not measured" if self.found is None else f"{self.found:.2f}"
        return f"{word:5} {self.text}: {found} (asked: {'<=' if self.at_most else '>='} {self.bound:g})"


def verdicts(results: Results) -> list[Verdict]:
    """Every line of the promise that this benchmark can judge, in its order."""
    return [*_table_lines(results), *_tensor_lines(results), *_photo_lines(results), *_int8_lines(results)]


def _table_lines(r: Results) -> list[Verdict]:
    tab, v2, bare = ("tab", OURS), ("tabv2", OURS), ("tab", BARE)
    return [
        Verdict("table, 32 connections, over the bare loop", 0.75, r.ratio(tab, bare, 32)),
        Verdict("table, 32 connections, over the best peer", 3.0, over_best_peer(r, tab, 32)),
        Verdict("table, V2 body, 32 connections, over the best peer", 2.5, over_best_peer(r, v2, 32)),
        Verdict("table, 8 connections, over the best peer", 4.0, over_best_peer(r, tab, 8)),
        Verdict("table, 1 connection, p50 over the bare loop's", 1.6, r.ratio(tab, bare, 1, "p50_ms"), True),
        Verdict("table, 1 connection, p50 over the quickest peer's", 1.0, over_best_peer(r, tab, 1, "p50_ms"), True),
    ]  # fmt: skip


def _tensor_lines(r: Results) -> list[Verdict]:
    raw, bare = ("raw", OURS), ("raw", BARE)
    lines = []
    for connections in (8, 32):
        ours, limit = r.median(*raw, connections), r.best_limit("raw")
        share = ours / limit if ours and limit else None
        lines.append(
            Verdict(
                f"tensors, {connections} connections, over the bare loop",
                1.0,
                r.ratio(raw, bare, connections),
            )
        )
        lines.append(
            Verdict(f"tensors, {connections} connections, of the best layout in process", 0.9, share)
        )
    triton = max(
        (name for name in r.named("raw", "peer") if name.startswith("triton")),
        key=lambda name: r.median("raw", name, 1) or 0.0,
        default="",
    )
    lines.append(Verdict("tensors, 1 connection, over Triton", 1.0, r.ratio(raw, ("raw", triton), 1)))
    lines.append(Verdict("tensors, 1 connection, of 1 / (run on all cores + echo)", 0.95, _of_ideal(r)))
    return lines


def _of_ideal(r: Results) -> float | None:
    """Our rate with one client, of what a run on all cores and the echo of the same bytes would leave."""
    ours, echo_ms = r.median("raw", OURS, 1), r.median("raw", ECHO, 1, "p50_ms")
    runs = r.limits.get("raw", {}).get("one run on all cores")
    if not (ours and echo_ms and runs):
        return None
    return ours * (1 / statistics.median(runs) + echo_ms / 1e3)


def _photo_lines(r: Results) -> list[Verdict]:
    img = ("img", OURS)
    lines = [Verdict("photos, 8 connections, over the bare loop", 1.2, r.ratio(img, ("img", BARE), 8))]
    for connections in (1, 8, 32):
        over = over_best_peer(r, img, connections)
        slower = over_best_peer(r, img, connections, "p99_ms")
        lines.append(Verdict(f"photos, {_clients(connections)}, over the best peer", 1.0, over))
        lines.append(
            Verdict(f"photos, {_clients(connections)}, p99 over the best peer's", 1.0, slower, at_most=True)
        )
    return lines


def _clients(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


def _int8_lines(r: Results) -> list[Verdict]:
    """INT8 against the peers' fp32, each at the number of connections that suits it best."""
    ours = r.best("img8", OURS)
    peers = [best for name in r.named("img", "peer") if (best := r.best("img", name))]
    guide = r.best("img", GUIDE)
    return [
        Verdict("photos, INT8, over the best peer", 2.8, ours / max(peers) if ours and peers else None),
        Verdict("photos, INT8, over the guide's service", 8.0, ours / guide if ours and guide else None),
    ]


def over_best_peer(r: Results, ours: tuple[str, str], connections: int, what: str = "rps") -> float | None:
    """Our figure over that of the peer that has the best median; None without peers."""
    case = "tab" if ours[0] == "tabv2" else ours[0]
    peers = [name for name in r.named(case, "peer") if r.answers_well(case, name, connections)]
    known = {name: value for name in peers if (value := r.median(case, name, connections, what))}
    if not known:
        return None
    best = (max if what == "rps" else min)(known, key=lambda name: known[name])
    return r.ratio(ours, (case, best), connections, what)


def table(r: Results) -> str:
    """All figures as Markdown, a table per case, the fastest first."""
    parts = []
    for case, title in CASE_TITLES.items():
        if case in r.runs:
            parts.append("\n".join([f"### {title}", "", *_head(), *_rows(r, case), "", _limit_line(r, case)]))
    return "\n\n".join(parts) + "\n"


def _head() -> list[str]:
    columns = ["server", "1: req/s", "p50 / p99 ms", "8: req/s", "p50 / p99 ms", "32: req/s", "p50 / p99 ms"]
    columns += ["of the bare loop (32)", "PSS MB (processes)", "ready s", "errors", "foreign"]
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def _rows(r: Results, case: str) -> list[str]:
    names = sorted(r.runs[case], key=lambda name: -(r.median(case, name, 32) or r.median(case, name, 1) or 0))
    return [_row(r, case, name) for name in names]


def _row(r: Results, case: str, name: str) -> str:
    cells = [f"**{name}**" if name == OURS else name]
    for connections in (1, 8, 32):
        rate = r.median(case, name, connections)
        p50, p99 = (r.median(case, name, connections, what) for what in ("p50_ms", "p99_ms"))
        cells += ["-", "-"] if rate is None else [f"{rate:,.0f}", f"{p50:.2f} / {p99:.2f}"]
    ratio = r.ratio((case, name), (case, BARE), 32)
    cells.append("-" if ratio is None else f"{ratio:.2f}")
    prints = r.footprints[case].get(name, [])
    middle = (
        {key: statistics.median(one[key] for one in prints) for key in ("pss_mb", "processes", "ready_s")}
        if prints
        else {}
    )
    cells.append(f"{middle['pss_mb']:.0f} ({middle['processes']:.0f})" if middle else "-")
    cells.append(f"{middle['ready_s']:.2f}" if middle else "-")
    rounds = [one for found in r.runs[case][name].values() for one in found]
    cells.append(f"{sum(one['errors'] for one in rounds):.0f}")
    cells.append(f"{max(one['foreign'] for one in rounds):.2f}")
    return "| " + " | ".join(cells) + " |"


def _limit_line(r: Results, case: str) -> str:
    found = [
        f"{layout}: {statistics.median(rates):,.0f}/s" for layout, rates in r.limits.get(case, {}).items()
    ]
    return f"In process, no server: {'; '.join(found) or 'not measured'}."
