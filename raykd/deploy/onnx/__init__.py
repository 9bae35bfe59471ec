"""The deployed network as an ONNX graph: plain, with its preprocessing, and in int8."""
