"""Networks that only infer: BatchNorm folded into convolutions, fused for a GPU, images renormalised for them.

Called by teachers, models.reused_head and bench. Never imports training, methods or data.
"""
