"""`python -m pricore` is `pricore`."""

from pricore.cli import main

if __name__ == "__main__":
    main()
