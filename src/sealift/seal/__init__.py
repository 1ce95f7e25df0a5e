"""Secrets on disk: private keys in, signatures out."""
