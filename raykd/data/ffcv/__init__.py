"""The fast reader: FFCV's file format and threads, with raykd's own decoders, crops and colour kernels.

Called by the loader only; imports no data loader of torch. The only package that imports ffcv; the parts of FFCV that
raykd replaces are in `imports`.
"""
