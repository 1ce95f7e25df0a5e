"""ONNX file + declarations -> Model: signature, pre- and post-processing."""
