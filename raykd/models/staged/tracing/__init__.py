"""How a network of a library computes its logits, found in forward passes: its stages in a row, its last steps.

Called by methods that enter networks at their stages or classify maps. It never imports a network's definition.
"""
