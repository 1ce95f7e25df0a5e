"""Every error a person or a client can meet, with the decision it asks for.

One root, `SealiftError`. Each branch is a decision that an operator takes; each class carries the
process exit code (docs/reference/exit-codes.md). Errors are caught only at the doors (`cli/`, the
HTTP front); foreign exceptions are wrapped where they enter, with `from`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SealiftError(Exception):
    """Something a person can act on: what failed, expected and found, and the next command.

    Args:
        message: one or more complete sentences; no traceback, no secret.
        next_step: the command or action that helps, shown on a line of its own.
        problems: when several things are wrong at once, one entry each; shown as a list.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, next_step: str | None = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.problems = tuple(problems)


class UsageError(SealiftError):
    """The command, an option or an input file of the caller's is wrong."""

    exit_code = 2


class ProjectError(UsageError):
    """`sealift.toml` or something it names is wrong."""


class ModelError(UsageError):
    """The model file cannot be read, or asks for something no release can carry."""


class GateFailed(UsageError):
    """A gate of the project file (licences, vulnerabilities, size) is not met; nothing was packed."""


class BundleError(SealiftError):
    """10s: the bundle is not one that sealift wrote."""

    exit_code = 10


class MalformedBundle(BundleError):
    """A document or object is not in its only permitted form."""

    exit_code = 11


class MissingPart(BundleError):
    """An object, manifest or volume that the bundle promises is not there."""

    exit_code = 12


class TrustError(SealiftError):
    """20s: the bundle may be well formed, but this box must not believe it."""

    exit_code = 20


class BadSignature(TrustError):
    """A signature does not verify."""

    exit_code = 21


class DigestMismatch(TrustError):
    """Bytes differ from the digest that was signed."""

    exit_code = 22


class UnknownKey(TrustError):
    """Signed, but not by a key that the pinned root delegates to for this product."""

    exit_code = 23


class Downgrade(TrustError):
    """An older sequence number than the one this box has committed."""

    exit_code = 24


class RootNotPinned(TrustError):
    """No trust root is pinned, or another one than the one offered."""

    exit_code = 25


class RevokedKey(TrustError):
    """Signed by a key that the root has revoked, and not by enough others."""

    exit_code = 26


class NotApproved(TrustError):
    """Fewer officers approved the release than the root or this box's policy asks for."""

    exit_code = 27


class HostError(SealiftError):
    """30s: this machine cannot take the release."""

    exit_code = 30


class IncompatibleHost(HostError):
    """Interpreter, C library, processor or platform differ from what the release was packed for."""

    exit_code = 31


class NoSpace(HostError):
    """Not enough bytes or inodes."""

    exit_code = 32


class BadSettings(HostError):
    """A setting of this box is unknown, of another type, or outside what the release permits."""

    exit_code = 33


class StoreError(SealiftError):
    """40s: the prefix on this box is locked, damaged or interrupted."""

    exit_code = 40


class Locked(StoreError):
    """Another sealift command holds the prefix."""

    exit_code = 41


class NotInstalled(StoreError):
    """No release of that name (or version) is installed under the prefix."""

    exit_code = 42


class BrokenLedger(StoreError):
    """The hash-chained log does not verify: a line was changed, removed, added, moved or cut off."""

    exit_code = 43


class NewerPrefix(StoreError):
    """A newer sealift wrote this prefix, in a form that this one does not read."""

    exit_code = 44


class NotServing(SealiftError):
    """A release is installed but nobody answers."""

    exit_code = 50


class Degraded(SealiftError):
    """A release serves, but not on the device that it declares first."""

    exit_code = 51


class NotActivated(SealiftError):
    """A check failed before traffic; the old release, if any, serves on."""

    exit_code = 60


class FellBack(SealiftError):
    """The new release was active, did badly while it was watched, and the old one serves again."""

    exit_code = 61


class Blocked(SealiftError):
    """This version failed on this box too often; it is not tried again unless somebody asks for it."""

    exit_code = 62


class AnswersDiffer(SealiftError):
    """The project does not answer as the running old service that it shall replace."""

    exit_code = 63


class RequestError(SealiftError):
    """A request cannot be answered; carries what the client sees.

    Args:
        message: names the field, what was expected and what was got.
        code: a stable word for programs, e.g. `invalid_field`.
        field: the JSON path, tensor or column at fault, if one is.
    """

    exit_code = 2
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, code: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class InvalidInput(RequestError):
    """400: the body is readable but not what the model takes."""


class NotFound(RequestError):
    """404: no such path, model or version."""

    status = 404


class MethodNotAllowed(RequestError):
    """405: the path exists, this method does not."""

    status = 405


class TooLarge(RequestError):
    """413: body, pixels or elements above the limit."""

    status = 413


class UnsupportedMedia(RequestError):
    """415: a content type or encoding that this path does not read."""

    status = 415


class ModelFailed(RequestError):
    """500: the engine or the handler raised on an input that passed validation."""

    status = 500


class Unavailable(RequestError):
    """503: draining, not ready, or the queue is full; retry elsewhere or later."""

    status = 503


class DeadlinePassed(RequestError):
    """504: the request's own deadline passed before its run began, or its client has gone."""

    status = 504
