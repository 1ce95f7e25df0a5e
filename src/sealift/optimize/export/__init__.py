"""TorchScript, torch.export archives, weights with their module -> ONNX that was held against them."""
