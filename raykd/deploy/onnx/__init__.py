"""The deployed network as an ONNX graph: plain, with its preprocessing, and in int8.

Called by deploy.write and deploy.speed; never imports them. Its packages are optional, so they are
imported in functions or by modules that `export.expect_packages` guards.
"""
