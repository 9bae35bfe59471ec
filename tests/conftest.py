import os

import torch
from hypothesis import settings

# How long an example takes says nothing about it on a busy machine.
settings.register_profile("raykd", deadline=None)
settings.load_profile("raykd")

# Threads that wait for one another make small tensors ten times slower where anything else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
