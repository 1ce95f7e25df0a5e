"""Carry a deep-learning service across an air gap, and keep it alive there."""

import os

__version__ = "0.1.0"

# onnxruntime's Linux wheels (seen: 1.32) write a device id under $HOME and try to post events to their
# maker as soon as they are imported; disable_telemetry_events() comes too late. Set before any room can
# import it, and inherited by every process sealift starts.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
