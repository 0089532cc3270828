"""``python -m graphneurons`` is the ``graphneurons`` command."""

from graphneurons.cli import main

if __name__ == "__main__":
    main()
