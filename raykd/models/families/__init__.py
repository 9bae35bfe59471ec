"""Networks that papers define, written out: the CIFAR families, and what some papers' own code does otherwise.

Called by `models.create_network` alone; imports nothing but torch and the view in raykd.models.
"""
