"""Who runs this process, as the log names them."""

from __future__ import annotations

import os
from collections.abc import Mapping


def operator(environ: Mapping[str, str] = os.environ) -> str:
    """`alice`, or `root (sudo by alice)`; the number where the system has no name for it.

    For the record, not for trust: root may say anything.
    """
    import pwd  # not at the top: Windows has none

    user = os.geteuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = f"user {user}"
    behind = environ.get("SUDO_USER") if user == 0 else None
    return f"{name} (sudo by {behind})" if behind and behind != name else name
