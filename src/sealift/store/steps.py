"""Every step that leaves something new on the disk: a test may end the process after each of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path


class Step(Enum):
    """What was just done. kill -9 after any of them must leave the old release or the new one, whole."""

    FILE_WRITTEN = "a file's new content lies beside it, synced"
    FILE_NAMED = "it took the file's name"
    FILE_DURABLE = "the folder is synced"
    FILE_GONE = "a file was removed, the folder is synced"
    LINK_WRITTEN = "a symbolic link lies beside the old one"
    LINK_TURNED = "it took the old one's place"
    LINK_DURABLE = "the folder is synced"
    OBJECT_WRITTEN = "an object's bytes are there, unnamed"
    OBJECT_NAMED = "the object has its name"
    OBJECT_GONE = "an object that no release needs was removed"
    TREE_BEGUN = "the unfinished tree's folder is there"
    TREE_LINKED = "every file of the release is linked into it"
    TREE_SYNCED = "objects and tree are on the disk"
    TREE_NAMED = "the tree has its name"
    TREE_DURABLE = "the folder is synced"
    TREE_CONDEMNED = "a tree was renamed for removal"
    TREE_GONE = "a condemned or unfinished tree was removed"
    MANIFEST_GONE = "a manifest that no release needs was removed"
    LINE_DURABLE = "a line of the log is on the disk"
    RESERVE_SPENT = "the reserve file was given up"
    RESERVE_MADE = "the reserve file has its size again"


Watcher = Callable[[Step, Path], None]
_watchers: list[Watcher] = []


def watch_steps(watcher: Watcher) -> None:
    """Be called after every step from now on; for tests."""
    _watchers.append(watcher)


def reached(step: Step, path: Path) -> None:
    """Say that `step` was done to `path`."""
    for watcher in _watchers:
        watcher(step, path)
