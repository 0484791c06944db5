"""How long the tests that try at random go on: for seconds in `make test`, for many minutes in `make soak`."""

import os
import random

TIMES = int(os.environ.get("PRICORE_SOAK", "1"))
"""How many times as many tries as in `make test`."""

SEED = int(os.environ.get("PRICORE_SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
"""What chance comes from; told by each failure, and given again with PRICORE_SOAK_SEED."""
