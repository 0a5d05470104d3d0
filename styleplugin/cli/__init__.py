"""The command line: the only place that prints and exits."""

from styleplugin.cli.main import run

__all__ = ["run"]
