"""Path or URL -> the archive on this disk, its digest checked."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote, urlsplit

from sealift.collect.wheel import sha256_of
from sealift.errors import DigestMismatch, UsageError
from sealift.events import Progress

MOST_BYTES: Final = 512 * 2**20
_TIMEOUT_S: Final = 60
_PIECE: Final = 1 << 20


def fetch_archive(
    place: str, sha256: str | None, folder: Path, progress: Progress, context: ssl.SSLContext | None = None
) -> Path:
    """The archive that `place` names: a path, a `file:` URL, or an `https:` URL, which needs its digest.

    Args:
        sha256: 64 hex digits; None only for what lies on this machine.
        folder: where a download goes.
        context: whom to trust for https; None for what this machine trusts.
    Raises: UsageError: not there, not to be had, or a URL without a digest. DigestMismatch.
    """
    parts = urlsplit(place)
    if parts.scheme == "https":
        if sha256 is None:
            raise UsageError(
                "[target] interpreter_archive is a URL and needs its digest.",
                next_step='add interpreter_sha256 = "..." to [target]; the project that built it publishes it',
            )
        path = _download(place, folder / Path(unquote(parts.path)).name, progress, context)
    elif parts.scheme in ("", "file"):
        path = Path(unquote(parts.path) if parts.scheme else place)
        if not path.is_file():
            raise UsageError(f"[target] interpreter_archive: there is no file {path}.")
    else:
        raise UsageError(
            f"[target] interpreter_archive: expected a path, file: or https: URL, got {place!r}."
        )
    _check(path, sha256)
    return path


def _check(path: Path, sha256: str | None) -> None:
    found = sha256_of(path) if sha256 is not None else None
    if sha256 is not None and found != sha256.lower():
        raise DigestMismatch(
            f"{path.name} is not the archive that the project names: expected sha256 {sha256.lower()}, found {found}.",
            next_step="find out who changed the file before you change [target] interpreter_sha256",
        )


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https and to nothing else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """As the base class, once the address is seen to be https."""
        if not newurl.startswith("https:"):
            fp.close()
            raise urllib.error.URLError("it redirects to an address without https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, path: Path, progress: Progress, context: ssl.SSLContext | None) -> Path:
    progress.start(f"download {path.name}")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _HttpsOnly)
    total = 0
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer, path.open("wb") as file:
            while piece := answer.read(_PIECE):
                total += len(piece)
                if total > MOST_BYTES:
                    raise UsageError(f"{url} is larger than {MOST_BYTES} bytes; no interpreter is.")
                file.write(piece)
                progress.advance(len(piece))
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"The interpreter's archive could not be downloaded: {reason}.",
            next_step="download it with your own means, and name the file in [target] interpreter_archive",
        ) from error
    return path
