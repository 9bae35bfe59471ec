"""Inference cost of a student and its teachers: latency, memory and size with onnxruntime on this machine.

Called by `raykd export --measure`; never trains.
"""
