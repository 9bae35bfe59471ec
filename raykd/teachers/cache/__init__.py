"""On-disk cache of frozen teachers' outputs: computed once for every training image, read by every later run.

Images are pure functions of the recipe and of their address, the position in the stream at which they come first (see
`TrainLoader.addresses`); so are a teacher's logits and features. Called by training and launch; never imports the loop.
"""
