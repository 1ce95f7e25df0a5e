"""An archive comes over https with its digest, or from this disk; from a real server on this machine."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealift.collect.interpreter.fetch import fetch_archive
from sealift.collect.wheel import sha256_of
from sealift.errors import DigestMismatch, UsageError
from sealift.events import Silent

CONTENT = b"an archive" * 1000


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        moves = {"/to-plain.tar.gz": "http://127.0.0.1:1/x", "/moved.tar.gz": "/a.tar.gz"}
        if self.path == "/a.tar.gz":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path in moves:
            self.send_response(302)
            self.send_header("Location", moves[self.path])
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(hours=1))
    builder = builder.not_valid_after(now + timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    cert, key = certificate(tmp_path)
    httpd = HTTPServer(("127.0.0.1", 0), _Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{httpd.server_address[1]}", ssl.create_default_context(cafile=str(cert))
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


@pytest.fixture
def digest(tmp_path: Path) -> str:
    (tmp_path / "content").write_bytes(CONTENT)
    return sha256_of(tmp_path / "content")


@pytest.mark.parametrize("name", ["a.tar.gz", "moved.tar.gz"])
def test_a_download_is_checked_against_its_digest(
    server: tuple[str, ssl.SSLContext], folder: Path, digest: str, name: str
) -> None:
    url, context = server
    path = fetch_archive(f"{url}/{name}", digest.upper(), folder, Silent(), context)
    assert path == folder / name
    assert path.read_bytes() == CONTENT
    with pytest.raises(DigestMismatch, match="is not the archive that the project names"):
        fetch_archive(f"{url}/{name}", "0" * 64, folder, Silent(), context)


@pytest.mark.parametrize(
    ("name", "said"),
    [("to-plain.tar.gz", "redirects to an address without https"), ("none.tar.gz", "Not Found")],
)
def test_what_is_not_to_be_had_says_why(
    server: tuple[str, ssl.SSLContext], folder: Path, digest: str, name: str, said: str
) -> None:
    url, context = server
    with pytest.raises(UsageError, match=f"could not be downloaded: .*{said}") as caught:
        fetch_archive(f"{url}/{name}", digest, folder, Silent(), context)
    assert "with your own means" in (caught.value.next_step or "")
    assert list(folder.iterdir()) == []


def test_a_server_that_nobody_vouches_for_is_refused(
    server: tuple[str, ssl.SSLContext], folder: Path, digest: str
) -> None:
    with pytest.raises(UsageError, match="certificate verify failed"):
        fetch_archive(f"{server[0]}/a.tar.gz", digest, folder, Silent())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("https://127.0.0.1:1/a.tar.gz", "is a URL and needs its digest"),
        ("http://127.0.0.1:1/a.tar.gz", "expected a path, file: or https: URL"),
        ("ftp://127.0.0.1/a.tar.gz", "expected a path, file: or https: URL"),
        ("/nowhere/a.tar.gz", "there is no file /nowhere/a.tar.gz"),
        ("file:///nowhere/a%20b.tar.gz", "there is no file /nowhere/a b.tar.gz"),
    ],
)
def test_other_places_are_refused(folder: Path, place: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fetch_archive(place, None, folder, Silent())


def test_what_lies_on_this_disk_is_taken_where_it_lies(folder: Path, tmp_path: Path, digest: str) -> None:
    path = tmp_path / "content"
    assert fetch_archive(str(path), None, folder, Silent()) == path
    assert fetch_archive(path.as_uri(), digest, folder, Silent()) == path
    with pytest.raises(DigestMismatch):
        fetch_archive(str(path), "0" * 64, folder, Silent())
    assert list(folder.iterdir()) == []
