"""``python -m broker``, where the ``broker`` script is not on the path."""

from broker.cli import console

if __name__ == "__main__":
    console()
