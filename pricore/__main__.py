"""`python -m pricore` is `pricore`."""

import gc

gc.disable()  # nothing that is loaded is garbage, and looking for it takes long; the work enables it again

try:
    from pricore.cli import main
except KeyboardInterrupt:
    raise SystemExit(130) from None  # what is typed so soon gets no traceback either

if __name__ == "__main__":
    main()
