"""What a student costs to serve beside its teachers: time, memory, size, as onnxruntime has it on this machine."""
