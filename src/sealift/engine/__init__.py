"""Model file -> Session: one protocol, one file per engine."""
