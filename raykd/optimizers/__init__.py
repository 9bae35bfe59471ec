"""The optimizers of recipes: torch's fused ones, and Shampoo.

Called by the optimizer classes of raykd.recipe; imports nothing of raykd.
"""
