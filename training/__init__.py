"""Training: networks, losses, data, recipes, evaluation and export to ONNX."""
