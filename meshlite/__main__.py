"""`python -m meshlite` is the `meshlite` command."""

from meshlite.cli.main import main

if __name__ == "__main__":
    main()
