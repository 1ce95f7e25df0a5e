"""ONNX + calibration items -> smaller models."""
