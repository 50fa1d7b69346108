"""Other formats: snapshots, the authors' checkpoints, torch.export and ONNX."""
