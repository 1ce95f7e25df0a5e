"""Our server, the in-process limit, the bare loop and the installed peers, in turn in one run: medians and ratios.

    python benchmarks/serving/run.py --peers none --served project    while tuning: two servers, two minutes
    python benchmarks/serving/run.py --json results.json              everything, about half an hour
    python benchmarks/serving/run.py --peers mosec,triton-python --rounds 5 --seconds 3

Every round starts every server anew, checks its answer against the one in process, warms it for a second and loads it
at 1, 8 and 32 connections (`wrk -t1` on this machine). Rounds are interleaved, medians are printed, and ratios are
medians of the rounds' own ratios. At the end: the lines that the project promises, with pass or fail.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from contenders import ALL_PEERS, BARE, ECHO, Contender
from install_peers import DEFAULT_FOLDER
from load import NotMeasured, limits, running
from machine import description, lone_session
from models import ready_models
from results import Results
from service import CASES, ours
from verdicts import table, verdicts

CONNECTIONS = (1, 8, 32)


def main() -> int:
    """Measure and report; 1 when a promise that was measured does not hold."""
    args = arguments()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt install wrk")
    lone_session()
    models = ready_models()
    peers = chosen_peers(args)
    results = Results(
        machine={**description(), "rounds": args.rounds, "seconds": args.seconds, "served": args.served}
    )
    for name in sorted(set(args.peers_wanted) - {peer.name for peer in peers}):
        results.problems[name] = "not installed (benchmarks/serving/install_peers.py)"
    plan = {case: contenders(case, peers, args) for case in args.cases}
    for round_ in range(args.rounds):
        for case, servers in plan.items():
            measure_round(results, case, servers, models, args, round_)
            if args.json:
                args.json.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    print(table(results))
    lines = verdicts(results)
    print("\n".join(str(line) for line in lines if line.found is not None))
    print(f"promises not measured in this run: {sum(line.found is None for line in lines)}")
    for name, problem in sorted(results.problems.items()):
        print(f"not measured: {name}: {problem}")
    return int(any(line.holds is False for line in lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", default="all", metavar="A,B", help="`all` that are installed (default), `none`, or names"
    )
    parser.add_argument("--cases", default=",".join(CASES), metavar="A,B", help=f"default: {','.join(CASES)}")
    parser.add_argument("--connections", default=",".join(map(str, CONNECTIONS)), metavar="N,N")
    parser.add_argument(
        "--seconds", type=int, default=2, metavar="S", help="of load per measurement (whole; default 2)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument(
        "--served",
        choices=("release", "project"),
        default="release",
        help="an installed release (default; packed when src/ has changed), or the working tree",
    )
    parser.add_argument("--without", default="", metavar="A,B", help="of: ours, control, limit")
    parser.add_argument("--peers-folder", type=Path, default=DEFAULT_FOLDER, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="F", help="write every figure there, after every case")
    args = parser.parse_args()
    args.cases = args.cases.split(",")
    args.connections = [int(word) for word in args.connections.split(",")]
    args.without = set(filter(None, args.without.split(",")))
    named = args.peers.split(",") if args.peers not in ("all", "none") else []
    args.peers_wanted = list(ALL_PEERS) if args.peers == "all" else named
    for given, known in ((args.cases, CASES), (args.peers_wanted, ALL_PEERS)):
        if unknown := set(given) - set(known):
            parser.error(f"not known: {', '.join(sorted(unknown))}; of {', '.join(known)}")
    return args


def chosen_peers(args: argparse.Namespace) -> list[Contender]:
    return [ALL_PEERS[name] for name in args.peers_wanted if ALL_PEERS[name].installed(args.peers_folder)]


def contenders(case: str, peers: list[Contender], args: argparse.Namespace) -> list[Contender]:
    """Who takes part in a case, in the order in which they are measured."""
    servers = [] if "ours" in args.without else [ours(case, args.served)]
    if "control" not in args.without:
        servers += [BARE] if case in BARE.routes else []
        servers += [ECHO] if case == "raw" else []
    return servers + [peer for peer in peers if case in peer.routes]


def measure_round(
    results: Results, case: str, servers: list[Contender], models: Path, args: argparse.Namespace, round_: int
) -> None:
    """One round of one case. A contender that failed once is not tried again."""
    if "limit" not in args.without and case != "img8":
        for layout, rate in limits(case, models, min(args.seconds, 2)).items():
            results.limit(case, layout, rate)
    for contender in servers:
        key = f"{contender.name} ({case})"
        if key in results.problems:
            continue
        try:
            measure(results, case, contender, models, args)
        except NotMeasured as problem:
            results.problems[key] = str(problem)
        said = results.problems.get(key) or results.last(case, contender.name)
        print(f"round {round_ + 1} {case:6} {contender.name:22} {said}", file=sys.stderr, flush=True)


def measure(
    results: Results, case: str, contender: Contender, models: Path, args: argparse.Namespace
) -> None:
    with running(contender, case, models, args.peers_folder) as server:
        server.warm_up()
        for connections in (1,) if contender is ECHO else args.connections:
            found = server.measure(connections, args.seconds)
            results.add(case, contender, connections, found.as_json())
        results.footprint(
            case, contender.name, server.ready_s, server.server.pss_mb(), len(server.server.tree())
        )


if __name__ == "__main__":
    sys.exit(main())
