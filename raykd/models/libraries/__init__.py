"""Networks from elsewhere: timm, torchvision, transformers (`hf`), and the user's own modules.

Each module builds plain networks, and says how they can be seen: as a chain of stages where it knows the family, else
as a whole whose features its library hands out. Only `creation`, `library_weights` and `families.imagenet`, whose
networks are torchvision's under other names, call it.
"""
