"""A writer of TensorFlow checkpoints, as a fixture."""

from types import SimpleNamespace

import pytest
from fakes.tensorflow import HEADER, entry, write_checkpoint, write_files


@pytest.fixture(scope="session")
def checkpoints() -> SimpleNamespace:
    """The functions `write` (of tensors), `entry` and `write_files` (of what an index shall hold)."""
    return SimpleNamespace(write=write_checkpoint, write_files=write_files, entry=entry, header=HEADER)
