"""Interpreter + box side -> sealift itself as a signed product, and the file that brings it to an empty box."""
