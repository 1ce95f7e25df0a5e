"""TLS of the front: real handshakes over real sockets, and every way in which certificate and key can be wrong."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.serve.certificates import Authority, write_key
from tests.serve.running import Client, Clock, Echo, Front, LoopThread

from sealift.errors import BadSettings
from sealift.serve.http.connections import Connections
from sealift.serve.http.limits import HttpLimits
from sealift.serve.http.message import Reply
from sealift.serve.http.protocol import HttpConnection
from sealift.serve.http.server import HttpServer
from sealift.serve.http.tls import TlsFiles, check_tls, server_context, tls_files

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

GET = b"GET /echo HTTP/1.1\r\nHost: box\r\n\r\n"
GET_SLOW = GET.replace(b"/echo", b"/slow")


class SecureFront(Front):
    """The front over the echo application, with TLS."""

    def __init__(self, files: TlsFiles, limits: HttpLimits, listener: socket.socket | None = None) -> None:
        self.thread = LoopThread()
        self.app = Echo()
        self.clock = Clock()
        self.connections = Connections(self.app, "fraud@1.0.0", limits, self.clock)
        self.server = HttpServer(self.connections, server_context(files))
        listener = listener or socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        self.address = listener.getsockname()
        self.thread.run(self.server.listen(listener))

    def wait_for_handshakes(self, number: int) -> None:
        """Until so many are under way."""
        deadline = time.monotonic() + 10
        while self.thread.call(lambda: len(self.connections._securing)) != number:
            assert time.monotonic() < deadline


class SecureClient(Client):
    """A client that trusts the test's CA."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(address)
        self.socket: ssl.SSLSocket = context.wrap_socket(self.socket, server_hostname="localhost")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    return authority.issue()


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


LIMITS = HttpLimits(body_bytes=1000, connections=20)
HASTY = HttpLimits(handshakes=3, handshake_s=0.3)


@pytest.fixture
def front(files: TlsFiles) -> Iterator[SecureFront]:
    front = SecureFront(files, LIMITS)
    yield front
    front.close()
    assert front.thread.reported == []


@pytest.fixture
def hasty(files: TlsFiles) -> Iterator[SecureFront]:
    """A front that gives a handshake little time; whoever gets through one is lucky on a busy machine."""
    front = SecureFront(files, HASTY)
    yield front
    front.close()
    assert front.thread.reported == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_requests_are_answered_over_tls(
    front: SecureFront, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    trusting.minimum_version = trusting.maximum_version = version
    with SecureClient(front.address, trusting) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.socket.compression() is None
        for _ in range(3):
            assert client.send(GET).answer().body == b"GET /echo?|"
        client.send(GET * 50)
        assert [client.answer().status for _ in range(50)] == [200] * 50


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_version_or_a_weak_cipher_is_refused(front: SecureFront, authority: Authority) -> None:
    old, weak = (ssl.create_default_context(cafile=authority.file) for _ in range(2))
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE+SHA256")
    for context in (old, weak):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            SecureClient(front.address, context)


def test_a_client_that_does_not_trust_the_ca_says_so_and_nothing_else_happens(front: SecureFront) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        SecureClient(front.address, ssl.create_default_context())
    front.wait_until(None)


def test_a_request_right_behind_the_handshake_is_not_lost(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    """TLS 1.3: the client's Finished and its first request in one segment."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(front.address, timeout=10) as plain:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        tls.write(GET)
        plain.sendall(outgoing.read())
        said = b""
        while b"GET /echo?|" not in said:
            try:
                said += tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))
        assert said.startswith(b"HTTP/1.1 200")


def test_plain_http_on_the_port_is_closed_and_others_are_served(
    front: SecureFront, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(front.address) as plain:
        assert plain.send(GET).is_closed()
    with SecureClient(front.address, trusting) as client:
        assert client.send(GET).answer().status == 200
    assert caplog.messages == ["1 TLS handshakes failed, the last with 127.0.0.1: http request"]


def test_failed_handshakes_are_told_once_a_minute(
    front: SecureFront, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in (0, 30, 31):
        front.clock.now += seconds
        for _ in range(3):
            with Client(front.address) as stranger:
                assert stranger.send(b"\x00 nothing that a client says\r\n" * 3).is_closed()
        front.wait_until(None)
    assert [line.split()[0] for line in caplog.messages] == ["1", "6"]


def test_half_open_handshakes_are_bounded_and_given_up(hasty: SecureFront) -> None:
    silent = [Client(hasty.address) for _ in range(HASTY.handshakes)]
    hasty.wait_for_handshakes(HASTY.handshakes)
    with Client(hasty.address) as one_more:
        assert silent[0].is_closed()  # the oldest gave way
        assert one_more.is_closed()  # after handshake_s
    for client in silent:
        assert client.is_closed()
        client.socket.close()
    hasty.wait_until(None)


def test_a_slow_handshake_is_given_up_however_it_dribbles(hasty: SecureFront) -> None:
    with Client(hasty.address) as slow:
        slow.send(b"\x16\x03\x01\x02\x00")  # a record of 512 bytes, of which nothing more comes
        assert slow.is_closed()
    hasty.wait_until(None)


def test_connections_too_many_are_dropped_before_their_handshake(
    files: TlsFiles, trusting: ssl.SSLContext
) -> None:
    front = SecureFront(files, HttpLimits(connections=1))
    try:
        with SecureClient(front.address, trusting) as first, Client(front.address) as second:
            assert second.is_closed()
            assert first.send(GET).answer().status == 200
    finally:
        front.close()


def test_a_client_that_sends_its_large_body_anyway_still_reads_the_refusal(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    """No half-close over TLS: what comes is thrown away until the client has read and gone."""
    body = b"x" * 3_000_000
    head = b"POST /echo HTTP/1.1\r\nHost: box\r\nContent-Length: %d\r\n\r\n" % len(body)
    with SecureClient(front.address, trusting) as client:
        answer = client.send(head + body).answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    front.wait_until(None)


def test_a_refused_client_that_stays_is_closed_after_the_linger_time(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    with SecureClient(front.address, trusting) as client:
        assert client.send(b"nonsense\r\n\r\n").answer().status == 400
        front.wait_until(lambda connection: connection._lingering)
        client.send(GET)  # thrown away
        front.pass_time(LIMITS.linger_s + 1)
        assert client.is_closed()
    front.wait_until(None)


def test_connection_close_ends_with_a_close_notify(front: SecureFront, trusting: ssl.SSLContext) -> None:
    with SecureClient(front.address, trusting) as client:
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert client.answer().status == 200
        assert client.socket.recv(1) == b""  # without it OpenSSL raises SSLEOFError


def test_a_client_that_reads_late_gets_everything_and_memory_stays_bounded(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    with SecureClient(front.address, trusting) as client:
        client.send(GET.replace(b"/echo", b"/big?1000000") * 10)
        front.wait_until(lambda connection: connection._stalled_at is not None)
        assert front.thread.call(lambda: len(front.app.finishes)) < 10
        for _ in range(10):
            assert len(client.answer().body) == 1_000_000


def test_draining_waits_for_a_handshake_that_is_under_way(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with SecureClient(front.address, trusting) as busy, Client(front.address) as raw:
        busy.send(GET_SLOW)
        front.app.arrived.acquire(timeout=10)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        raw.send(outgoing.read())
        front.wait_for_handshakes(1)
        task = front.thread.call(lambda: front.thread.loop.create_task(front.server.drain(5, 0.0)))
        incoming.write(raw.socket.recv(65536))
        tls.do_handshake()
        tls.write(GET)
        raw.send(outgoing.read())
        said = b""
        while b"GET /echo?|" not in said:
            try:
                said += tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(raw.socket.recv(65536))
        assert b"Connection: close" in said
        front.resolve(Reply(200, b"done"))
        assert busy.answer().headers["connection"] == "close"
    front.thread.run(_done(task))


async def _done(task: object) -> None:
    assert await task == 0  # type: ignore[misc]


def test_a_connection_over_tls_is_one_of_the_fronts_own(front: SecureFront, trusting: ssl.SSLContext) -> None:
    with SecureClient(front.address, trusting) as client:
        assert client.send(GET).answer().status == 200
        front.wait_until(lambda connection: isinstance(connection, HttpConnection))
        assert front.thread.call(lambda: len(front.connections)) == 1
        front.pass_time(76)
        assert client.is_closed()


# ------------------------------------------------------------------ certificate and key


def refused(files: TlsFiles, user: str | None = None) -> str:
    with pytest.raises(BadSettings) as caught:
        check_tls(files, user)
    assert caught.value.exit_code == 33
    return caught.value.message


def test_a_good_pair_gives_no_warning(files: TlsFiles) -> None:
    assert check_tls(files, None) == ()


def test_one_without_the_other_is_refused(files: TlsFiles) -> None:
    assert tls_files(None, None) is None
    assert tls_files(str(files.certificate), str(files.key)) == files
    with pytest.raises(BadSettings, match=r"tls\.certificate is set and tls\.key is not"):
        tls_files("/a", None)
    with pytest.raises(BadSettings, match=r"tls\.key is set and tls\.certificate is not"):
        tls_files(None, "/a")


def test_files_that_are_not_there_or_no_files_are_named(files: TlsFiles, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    assert refused(TlsFiles(gone, files.key)) == f"tls.certificate: {gone}: No such file or directory"
    assert refused(TlsFiles(files.certificate, gone)) == f"tls.key: {gone}: No such file or directory"
    assert refused(TlsFiles(tmp_path, files.key)) == f"tls.certificate: {tmp_path}: it is no regular file"
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refused(TlsFiles(files.certificate, tmp_path / "pipe"))


def test_files_without_what_they_should_hold_are_named(files: TlsFiles, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    assert refused(TlsFiles(empty, files.key)).endswith("it holds no certificate in PEM form")
    assert refused(TlsFiles(files.certificate, empty)).endswith("it holds no private key in PEM form")
    assert "no certificate in PEM form" in refused(TlsFiles(files.key, files.certificate))
    cut = tmp_path / "cut.pem"
    cut.write_bytes(files.certificate.read_bytes()[:200])
    assert refused(TlsFiles(cut, files.key)).startswith(f"tls.certificate: {cut}: with {files.key}: ")


def test_a_key_of_another_certificate_is_refused(authority: Authority, files: TlsFiles) -> None:
    other = authority.issue("other")
    assert refused(TlsFiles(files.certificate, other.key)) == (
        f"tls.key: {other.key}: it is not the key of the certificate in {files.certificate}"
    )


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(
    files: TlsFiles, tmp_path: Path
) -> None:
    write_key(tmp_path / "locked.key", ec.generate_private_key(ec.SECP256R1()), b"secret")
    assert "it is encrypted, and nobody is there" in refused(
        TlsFiles(files.certificate, tmp_path / "locked.key")
    )


def test_dates_and_names_that_clients_refuse_are_warned_of(authority: Authority) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    made = {
        "expired": authority.issue("expired", begins=now - 9 * day, ends=now - day),
        "not valid before": authority.issue("early", begins=now + day),
        "expires on": authority.issue("soon", ends=now + 20 * day),
        "names no host": authority.issue("nameless", names_host=False),
    }
    for text, files in made.items():
        (warning,) = check_tls(files, None)
        assert text in warning
        assert warning.startswith(f"{files.certificate}: the certificate ")


def test_a_key_that_everybody_may_read_is_warned_of(authority: Authority) -> None:
    open_key = authority.issue("open")
    open_key.key.chmod(0o644)
    (warning,) = check_tls(open_key, None)
    assert "every user of this machine may read the private key" in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
def test_a_key_that_the_workers_account_may_not_read_is_refused(authority: Authority) -> None:
    nobody = pwd.getpwnam("nobody")
    files = authority.issue("closed")
    assert "workers run as nobody, who may not read it" in refused(files, "nobody")
    folder = Path("/tmp") / f"sealift-tls-{os.getpid()}"  # pytest's own folders are closed to others
    folder.mkdir(mode=0o755)
    try:
        given = TlsFiles(folder / "box.pem", folder / "box.key")
        given.certificate.write_bytes(files.certificate.read_bytes())
        given.key.write_bytes(files.key.read_bytes())
        given.key.chmod(0o600)
        assert refused(given, "nobody").startswith(f"tls.key: {given.key}: workers run as nobody")
        os.chown(given.key, nobody.pw_uid, nobody.pw_gid)
        assert check_tls(given, "nobody") == ()
    finally:
        shutil.rmtree(folder)


# ------------------------------------------------------------------ clients that break off or break the rules


def handshaken(
    front: SecureFront, context: ssl.SSLContext
) -> tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO]:
    """A connection after its handshake, with the raw socket at hand; and where to fetch what TLS would send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    plain = socket.create_connection(front.address, timeout=10)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            incoming.write(plain.recv(65536))
    plain.sendall(outgoing.read())
    return plain, tls, outgoing


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\x00\x10" + b"x" * 16, b"\0" * 99], ids=str
)
def test_garbage_behind_a_handshake_ends_the_connection_without_a_word_in_the_log(
    front: SecureFront, trusting: ssl.SSLContext, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _, _ = handshaken(front, trusting)
    front.wait_until(lambda _: True)
    with plain:
        plain.sendall(garbage)
        while plain.recv(65536):
            pass
    front.wait_until(None)
    assert caplog.messages == []


def test_a_client_that_vanishes_at_any_byte_of_its_handshake_leaves_nothing(
    front: SecureFront, trusting: ssl.SSLContext
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    for cut in range(0, len(hello), 7):
        with Client(front.address) as client:
            client.send(hello[:cut])
    front.wait_for_handshakes(0)
    front.wait_until(None)
    with SecureClient(front.address, trusting) as client:
        assert client.send(GET).answer().status == 200


class Exhausted(socket.socket):
    """A listening socket in a process that is out of descriptors for a while."""

    failures = 3

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_a_process_out_of_descriptors_pauses_and_serves_whoever_waited(
    files: TlsFiles, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    front = SecureFront(files, LIMITS, Exhausted(socket.AF_INET))
    try:
        with SecureClient(front.address, trusting) as client:
            assert client.send(GET).answer().status == 200
        assert caplog.messages.count("cannot accept: Too many open files; again in 0.1 s") == 3
    finally:
        front.close()
