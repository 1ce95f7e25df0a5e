"""What this box refused goes into its log, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sealift.errors import Blocked, BundleError, FellBack, HostError, NotActivated, SealiftError, TrustError
from sealift.ledger.log import append
from sealift.ledger.record import Event, Facts
from sealift.ledger.who import operator
from sealift.store.prefix import Prefix

RECORDED = (BundleError, TrustError, HostError, NotActivated, FellBack, Blocked)


@contextlib.contextmanager
def recording_refusals(
    prefix: Prefix, verb: str, bundle: Path | None, product: str | None = None
) -> Iterator[None]:
    """Record a refusal and let it go on: a log that cannot be written does not hide why it was refused.

    Args:
        product: the service that it was about, once that is known: a bundle's own word for it, believed or not.
    """
    try:
        yield
    except RECORDED as error:
        facts = {
            "bundle": str(bundle or ""),
            "exit_code": error.exit_code,
            "reason": error.message,
            "verb": verb,
        }
        record(prefix, Event.REFUSAL, facts if product is None else {**facts, "product": product})
        raise


def record(prefix: Prefix, event: Event, facts: Facts) -> None:
    """Write to the log of a prefix that is there; one that may not be written (a reader without rights, an
    officer's desk that is no box) keeps no log."""
    if prefix.exists:
        with contextlib.suppress(SealiftError, ImportError):
            append(prefix.ledger, event, facts, who=operator())
