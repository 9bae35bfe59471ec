"""The distillation methods, one file each: the loss as a pure function, then the class with its `Config`.

Recipes import a method's `Config`; raykd itself only lists them. Imports contract, losses and models, never data,
training or Ray.
"""
