"""The fast reader: FFCV's file format and threads, with raykd's own decoders, crops and colour kernels.

Called by the loader alone; imports no data loader of torch. The only room that imports ffcv; what raykd replaces inside
FFCV is in `imports`.
"""
