"""Networks from elsewhere: timm, torchvision, transformers (`hf`), and the user's own modules.

Each module builds plain networks and yields views of them: as a chain of stages if it knows the family, else as a whole
whose features the library returns. Called by models.creation, models.weights and families.imagenet; of the other
packages it imports only contract.
"""
