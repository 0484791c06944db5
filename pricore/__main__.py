"""`python -m pricore` is `pricore`."""

import gc

gc.disable()  # nothing that is loaded is garbage, and looking for it takes long; the work enables it again

from pricore.cli import main  # noqa: E402  # see above

if __name__ == "__main__":
    main()
