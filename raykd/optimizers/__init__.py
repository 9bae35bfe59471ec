"""The optimizers that a recipe's own classes build: torch's fused ones, and Shampoo.

Called by raykd.recipe, when training builds its optimizer; imports nothing of raykd.
"""
