"""An index of packages on 127.0.0.1, as a company keeps one: pages (PEP 503, 691), metadata (PEP 658), a password."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote


@dataclass
class LocalIndex:
    """`folder` holds the files; `json`: the form of its pages; `metadata`, `hashes`: whether it tells them.

    `user` and `password` guard it where they are not empty. `asked`: paths that were answered, in order.
    """

    folder: Path
    json: bool = True
    metadata: bool = True
    hashes: bool = True
    user: str = ""
    password: str = ""
    host: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """For pip, with what it takes to get in."""
        secret = f"{self.user}:{self.password}@" if self.user else ""
        return f"http://{secret}{self.host}/simple"

    @property
    def bodies(self) -> list[str]:
        """The wheels that somebody downloaded."""
        return [path.rpartition("/")[2] for path in self.asked if path.endswith(".whl")]

    def page(self, project: str) -> bytes | None:
        """The page of one project; None where there is no such."""
        files = [p for p in sorted(self.folder.iterdir()) if _normal(p.name.split("-")[0]) == project]
        if not files:
            return None
        return self._json(project, files) if self.json else self._html(files)

    def _json(self, project: str, files: list[Path]) -> bytes:
        listed = []
        for path in files:
            entry: dict[str, object] = {"filename": path.name, "url": f"/files/{path.name}", "hashes": {}}
            entry["hashes"] = {"sha256": _sha256(path)} if self.hashes else {}
            entry["size"] = path.stat().st_size
            entry["core-metadata"] = self.metadata and path.suffix == ".whl"
            listed.append(entry)
        return json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": listed}).encode()

    def _html(self, files: list[Path]) -> bytes:
        lines = []
        for path in files:
            fragment = f"#sha256={_sha256(path)}" if self.hashes else ""
            told = ' data-core-metadata="true"' if self.metadata and path.suffix == ".whl" else ""
            lines.append(f'<a href="/files/{path.name}{fragment}"{told}>{path.name}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(lines)}</body></html>".encode()

    def file(self, name: str) -> bytes | None:
        """A file, or the METADATA of a wheel."""
        path = self.folder / name.removesuffix(".metadata")
        if not path.is_file():
            return None
        if not name.endswith(".metadata"):
            return path.read_bytes()
        with zipfile.ZipFile(path) as wheel:
            member = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            return wheel.read(member)


@contextmanager
def serving(index: LocalIndex) -> Iterator[LocalIndex]:
    """The index, answering until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            expected = base64.b64encode(f"{index.user}:{index.password}".encode()).decode()
            if index.user and self.headers.get("Authorization") != f"Basic {expected}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="wheels"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kind = "text/html"
            if match := re.fullmatch(r"/simple/([^/]+)/", self.path):
                body = index.page(match[1])
                kind = "application/vnd.pypi.simple.v1+json" if index.json else "text/html"
            else:
                body = (
                    index.file(unquote(self.path).rpartition("/")[2])
                    if self.path.startswith("/files/")
                    else None
                )
            index.asked.append(unquote(self.path))
            self.send_response(200 if body is not None else 404)
            self.send_header(
                "Content-Type", kind if self.path.startswith("/simple/") else "application/octet-stream"
            )
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
