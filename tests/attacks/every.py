"""The whole table: the modules with attacks, read."""

from __future__ import annotations

from tests.attacks import on_containers, on_deltas, on_documents, on_names, on_objects, on_the_box, on_trust
from tests.attacks.table import ATTACKS

MODULES = (on_containers, on_deltas, on_documents, on_names, on_objects, on_the_box, on_trust)

__all__ = ["ATTACKS", "MODULES"]
