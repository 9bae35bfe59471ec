"""Networks that raykd defines: the CIFAR families, and variants of some papers' own code.

Called by models.catalogue alone; imports only torch, torchvision and the interface in raykd.models.
"""
