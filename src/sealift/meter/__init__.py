"""What happened -> numbers that cost nothing to count (no exporter here)."""
