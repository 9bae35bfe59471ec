"""Methods: one file each, the pure loss above, the class below, the paper named.

Recipes import their `Config`; raykd itself only lists them. They read contract, losses and models, never data or Ray.
"""
