"""Carry a deep-learning service across an air gap, and keep it alive there."""

__version__ = "0.1.0"
