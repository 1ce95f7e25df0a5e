"""Bytes of a connection -> requests -> bytes of an answer."""
