"""What this box refused goes into its log, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sealift.errors import BundleError, HostError, NotActivated, SealiftError, TrustError
from sealift.ledger.log import append
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.store.prefix import Prefix

RECORDED = (BundleError, TrustError, HostError, NotActivated)


@contextlib.contextmanager
def recording_refusals(prefix: Prefix, verb: str, bundle: Path) -> Iterator[None]:
    """Record a refusal and let it go on. A prefix that is not there yet is not made for it, and a log that
    cannot be written (a reader without rights) does not hide why the bundle was refused."""
    try:
        yield
    except RECORDED as error:
        facts = {"bundle": str(bundle), "exit_code": error.exit_code, "reason": error.message, "verb": verb}
        if prefix.exists:
            with contextlib.suppress(SealiftError):
                append(prefix.ledger, Event.REFUSAL, facts, who=operator())
        raise
