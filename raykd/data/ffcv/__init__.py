"""The fast reader: FFCV's file format and threads, with raykd's own decoders, crops and colour kernels.

Called by the loader alone. The only room that imports ffcv; what it replaces inside FFCV stands in `imports`.
"""
