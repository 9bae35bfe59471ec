"""Networks for inference only: BatchNorm folded into convolutions, kernels fused for a GPU, images renormalised.

Called by teachers, models.reused_head and bench. Never imports training, methods or data.
"""
