"""gRPC calls of the Open Inference Protocol v2 -> answers. Loaded only where a worker has a gRPC port."""
