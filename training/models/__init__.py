"""Network definitions; they exist to make ONNX files."""
