"""Who is measured, how each is started, and in which form each takes a request."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PEERS: Final = HERE / "peers"
JSON, BINARY = "application/json", "application/octet-stream"
V2: Final = "/v2/models/m/infer"


@dataclass(frozen=True, slots=True)
class Route:
    """One request: the body is the file `body-NAME` of the models' folder."""

    path: str
    body: str
    content_type: str = JSON

    @property
    def has_header_length(self) -> bool:
        """Claims that the body is a V2 JSON header with binary tensors behind it."""
        return self.content_type == BINARY and "-v2" in self.body


@dataclass(frozen=True, slots=True)
class Contender:
    """A server. `kind`: ours, control or peer; `environment`: the peer's virtual environment, None: this one.

    In `command` {python} and {bin} are that environment's, {port} the port it is to take.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    routes: dict[str, Route]
    environment: str | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def argv(self, peers: Path, port: int) -> list[str]:
        """The command with its places filled in."""
        home = peers / self.environment / "bin" if self.environment else Path(sys.executable).parent
        places = {"{python}": str(home / "python"), "{bin}": str(home), "{port}": str(port)}
        words = list(self.command)
        for place, value in places.items():
            words = [word.replace(place, value) for word in words]
        return words

    def installed(self, peers: Path) -> bool:
        return self.environment is None or (peers / self.environment / "installed.json").is_file()


def _plain(path_tab: str, path_img: str, path_raw: str | None = None) -> dict[str, Route]:
    routes = {"tab": Route(path_tab, "tab"), "img": Route(path_img, "img")}
    return {**routes, "raw": Route(path_raw, "raw", BINARY)} if path_raw else routes


_V2_ROUTES: Final = {
    "tab": Route(V2, "tab-v2"),
    "img": Route(V2, "img-v2"),
    "raw": Route(V2, "raw-v2", BINARY),
}
_ONE_THREAD: Final = {"ENGINE_THREADS": "1"}
_LIBRARIES: Final = {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""}
"""Triton's stub loads whatever libpython it finds: it must be this interpreter's."""


def _script(file: str, *words: str) -> tuple[str, ...]:
    return ("{python}", str(PEERS / file), *words)


def _asgi(workers: int) -> Contender:
    command = (
        "{bin}/uvicorn",
        "--app-dir",
        str(PEERS),
        "on_fastapi:app",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    )
    quiet = ("--no-access-log", "--log-level", "error", "--workers", str(workers))
    routes = _plain("/tab", "/predict", "/raw")
    return Contender(f"fastapi-uvicorn{workers}", "peer", command + quiet, routes, "fastapi", _ONE_THREAD)


def _granian(workers: int) -> Contender:
    command = (
        "{bin}/granian",
        "--interface",
        "rsgi",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--no-access-log",
    )
    rest = ("--log-level", "error", "--workers", str(workers), "--working-dir", str(PEERS), "on_granian:app")
    return Contender(
        f"granian-rsgi{workers}", "control", command + rest, _plain("/", "/", "/"), "fastapi", _ONE_THREAD
    )


def _gunicorn(name: str, **variables: str) -> Contender:
    command = (
        "{bin}/gunicorn",
        "-w",
        "2",
        "-b",
        "127.0.0.1:{port}",
        "--chdir",
        str(PEERS),
        "--log-level",
        "error",
    )
    return Contender(name, "peer", (*command, "on_flask:app"), _plain("/tab", "/predict"), "flask", variables)


def _peers() -> list[Contender]:
    mosec = _script("on_mosec.py", "--port", "{port}", "--address", "127.0.0.1", "--timeout", "60000")
    mosec += ("--log-level", "warning")
    bento = ("{bin}/bentoml", "serve", "on_bentoml:Service", "--working-dir", str(PEERS), "--port", "{port}")
    bento_routes = {"tab": Route("/tab", "tab-list"), "img": Route("/predict", "img-list")}
    mlserver_routes = {
        "tab": Route(V2, "tab-v2"),
        "img": Route(V2, "img-v2-str"),
        "raw": Route(V2, "raw-v2-json"),
    }
    kserve_routes = {**_V2_ROUTES, "img": Route(V2, "img-v2-flat")}
    torchserve_routes = _plain("/predictions/m", "/predictions/m", "/predictions/m")
    return [
        Contender("mosec", "peer", mosec, _plain("/inference", "/inference", "/inference"), "mosec"),
        _granian(1),
        _granian(2),
        Contender("triton-python", "peer", _script("on_triton.py"), _V2_ROUTES, "triton"),
        Contender("pytriton", "peer", _script("on_pytriton.py"), _V2_ROUTES, "triton", _LIBRARIES),
        _asgi(1),
        _asgi(2),
        Contender("flask-torchscript", "peer", _script("on_flask.py"), _plain("/tab", "/predict"), "flask"),
        _gunicorn("flask-gunicorn2"),
        _gunicorn("flask-gunicorn2-omp1", OMP_NUM_THREADS="1"),
        Contender("torchserve", "peer", _script("on_torchserve.py"), torchserve_routes, "torchserve"),
        Contender("litserve", "peer", _script("on_litserve.py"), _plain("/predict", "/predict"), "litserve"),
        Contender("mlserver", "peer", _script("on_mlserver.py"), mlserver_routes, "mlserver", {"PROCESSES": "0"}),
        Contender("kserve", "peer", _script("on_kserve.py"), kserve_routes, "kserve"),
        Contender("bentoml", "peer", bento, bento_routes, "bentoml"),
        Contender("ray-serve", "peer", _script("on_ray.py"), _plain("/", "/", "/"), "ray"),
    ]  # fmt: skip


def _without_window(peers: list[Contender]) -> list[Contender]:
    """The same peers with (almost) no batching window, and without batching where that is another setting."""
    by_name = {peer.name: peer for peer in peers}
    found = [
        replace(
            by_name[name],
            name=f"{name}-w{window}",
            variables={**by_name[name].variables, "WINDOW_MS": window},
        )
        for name, window in (
            ("mosec", "1"), ("triton-python", "0"), ("pytriton", "0"), ("litserve", "0"), ("ray-serve", "0"),
        )
    ]  # fmt: skip
    for name in ("mlserver", "bentoml"):
        peer = by_name[name]
        found.append(replace(peer, name=f"{name}-nobatch", variables={**peer.variables, "BATCHING": "0"}))
    return found


_LISTED: Final = _peers()
ALL_PEERS: Final = {peer.name: peer for peer in (*_LISTED, *_without_window(_LISTED))}

BARE: Final = Contender(
    "bare loop",
    "control",
    ("{python}", str(HERE / "bare.py")),
    {
        "tab": Route("/", "tab"),
        "tabv2": Route("/", "tab-v2"),
        "img": Route("/", "img"),
        "raw": Route("/", "raw", BINARY),
    },
)
ECHO: Final = replace(
    BARE, name="echo", variables={"CASE": "echo"}, routes={"raw": Route("/", "raw", BINARY)}
)
OUR_ROUTES: Final = {
    "tab": Route("/predict", "tab"),
    "tabv2": Route("/v2/models/table/infer", "tab-v2"),
    "img": Route("/predict", "img"),
    "img8": Route("/predict", "img"),
    "raw": Route("/v2/models/lite0/infer", "raw-v2-binary", BINARY),
}
