"""Entry point: `styleplugin` and `python -m styleplugin`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        import tqdm  # noqa: F401
        import tyro  # noqa: F401
    except ModuleNotFoundError as error:
        print(f"The command line needs {error.name}. Install it with: pip install 'styleplugin[cli]'", file=sys.stderr)
        sys.exit(2)
    from styleplugin.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
