"""TLS of the front: certificate and key of this box -> a context, or why not in words.

Source: RFC 8446, RFC 9325 (what is still sane of TLS 1.2), RFC 7301 (ALPN).
"""

from __future__ import annotations

import pwd
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sealift.errors import BadSettings

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption; those of 1.3 are all like that."""
_LARGEST: Final = 1 << 20
_SOON: Final = timedelta(days=30)
_CERTIFICATE, _KEY = "tls.certificate", "tls.key"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they lie: PEM, the certificate first and then those that lead to its CA; the key unencrypted."""

    certificate: Path
    key: Path


def tls_files(certificate: str | None, key: str | None) -> TlsFiles | None:
    """Both settings as files; None: neither is set, so plain HTTP. Raises: BadSettings: only one is."""
    if certificate and key:
        return TlsFiles(Path(certificate), Path(key))
    if not certificate and not key:
        return None
    there, lacks = (_CERTIFICATE, _KEY) if certificate else (_KEY, _CERTIFICATE)
    raise BadSettings(
        f"{there} is set and {lacks} is not: TLS needs both", next_step=f"set {lacks} too, or neither"
    )


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """A context with the certificate and key as they are on the disk now.

    TLS 1.2 and 1.3, no compression, no renegotiation, HTTP/1.1 by ALPN.

    Raises: BadSettings: a file is missing or not readable, is no PEM, is encrypted, or the two do not match.
    """
    certificate, key = _read(_CERTIFICATE, files.certificate), _read(_KEY, files.key)
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise _bad(_CERTIFICATE, files.certificate, "it holds no certificate in PEM form")
    if b"PRIVATE KEY-----" not in key:
        raise _bad(_KEY, files.key, "it holds no private key in PEM form")
    if b"ENCRYPTED" in key:
        raise _bad(
            _KEY,
            files.key,
            "it is encrypted, and nobody is there to type a passphrase when the service starts",
            "openssl pkey -in KEY -out PLAIN, readable by the service alone",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"it is not the key of the certificate in {files.certificate}"
            raise _bad(_KEY, files.key, text) from error
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise _bad(_CERTIFICATE, files.certificate, f"with {files.key}: {reason}") from error
    except OSError as error:
        raise _bad(_CERTIFICATE, files.certificate, error.strerror or str(error)) from error
    return context


def check_tls(files: TlsFiles, user: str | None) -> tuple[str, ...]:
    """Hold both files to what a worker will need, before anything listens.

    Args:
        user: the account that workers run under; None: the caller's own.
    Returns: warnings, one sentence each: what clients will complain about.
    Raises: BadSettings: as `server_context`, or `user` may not read one of them.
    """
    server_context(files)
    if user is not None:
        for name, path in ((_CERTIFICATE, files.certificate), (_KEY, files.key)):
            if not _may_read(user, path):
                advice = f"setfacl -m u:{user}:r {path}, and x on each folder above it"
                raise _bad(name, path, f"workers run as {user}, who may not read it", advice)
    return tuple(_warnings(files))


def _warnings(files: TlsFiles) -> Iterator[str]:
    from cryptography import x509

    try:
        leaf = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
        begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        names = [one.oid for one in leaf.extensions]
    except (ValueError, OSError) as error:
        yield f"{files.certificate}: its dates cannot be read: {error}"
        return
    now = datetime.now(UTC)
    if now > ends:
        yield f"{files.certificate}: the certificate has expired on {ends:%Y-%m-%d}; clients will refuse it"
    elif now < begins:
        yield f"{files.certificate}: the certificate is not valid before {begins:%Y-%m-%d}; is the clock right?"
    elif now + _SOON > ends:
        yield f"{files.certificate}: the certificate expires on {ends:%Y-%m-%d}"
    if x509.SubjectAlternativeName.oid not in names:
        yield f"{files.certificate}: the certificate names no host (subjectAltName); clients will refuse it"
    if files.key.stat().st_mode & 0o004:
        yield f"{files.key}: every user of this machine may read the private key; chmod o-r"


def _read(name: str, path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise _bad(name, path, "it is no regular file")
        with path.open("rb") as stream:
            return stream.read(_LARGEST)
    except OSError as error:
        raise _bad(name, path, error.strerror or str(error)) from error


def _may_read(user: str, path: Path) -> bool:
    """Ask the kernel, as that user: groups, folders above and access lists count too."""
    account = pwd.getpwnam(user)
    done = subprocess.run(
        ["test", "-r", str(path)], user=account.pw_uid, group=account.pw_gid, extra_groups=(), check=False
    )
    return done.returncode == 0


def _bad(name: str, path: Path, text: str, advice: str | None = None) -> BadSettings:
    return BadSettings(f"{name}: {path}: {text}", next_step=advice)
