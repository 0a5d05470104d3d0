"""Bounds on a pickle before PyTorch reads it, from its opcodes alone: nothing in it is made or run.

A pickle of a hundred bytes can stand for a tuple of 2^60 parts, each made of twice the one before. PyTorch builds it at
once, and takes years to hash it as a key or to write it into a message. So what each value would be in full is counted
here, by a stack of sizes in the place of values.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import IO

MAX_OPCODES = 1 << 18
"""A state dict takes about 30 for each tensor, and has 4096 tensors at most."""
MAX_PARTS = 1 << 20
"""Of one value in full."""
MAX_SHARED = 16
"""How often values that can still grow may be fetched from the memo: state dicts share names and types."""
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_GROWING = {pickletools.pylist, pickletools.pydict, pickletools.pyset}
_Value = tuple[int, bool]
"""How many parts a value has in full, and whether it can grow."""


def check_pickle(file: IO[bytes]) -> int:
    """Read a pickle's opcodes up to its end.

    Args:
        file: At the begin of the pickle; afterwards at its end.

    Returns:
        The number of opcodes.

    Raises:
        ValueError: It is none, or beyond the bounds; the rest of it was not looked at.
        IndexError: It takes what is not there.
        KeyError: The same.
    """
    stack: list[_Value | None] = []  # None is a mark.
    memo: dict[int, _Value] = {}
    count = shared = 0
    for opcode, argument, _ in pickletools.genops(file):
        count += 1
        if count > MAX_OPCODES:
            raise ValueError(f"it has more than {MAX_OPCODES} opcodes")
        if opcode.name in _GETS:
            assert isinstance(argument, int)
            value = memo[argument]
            shared += value[1]
            if shared > MAX_SHARED:
                raise ValueError(f"it shares containers more than {MAX_SHARED} times")
            stack.append(value)
        elif opcode.name in _PUTS or opcode.name == "MEMOIZE":
            place = len(memo) if argument is None else argument
            assert stack[-1] is not None and isinstance(place, int)
            memo[place] = stack[-1]
        elif opcode.name == "DUP":
            shared += bool(stack[-1] and stack[-1][1])
            stack.append(stack[-1])
        else:
            _apply(opcode, stack)
    return count


def _apply(opcode: pickletools.OpcodeInfo, stack: list[_Value | None]) -> None:
    """Take what an opcode takes from the stack, and put the size of what it makes there."""
    taken = sum(parts for parts, _ in _popped(opcode, stack))
    if taken > MAX_PARTS:
        raise ValueError(f"it holds a value of more than {MAX_PARTS} parts")
    for kind in opcode.stack_after:
        grows = kind in _GROWING or opcode.name in ("REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST")
        stack.append(None if kind is pickletools.markobject else (1 + taken, grows))


def _popped(opcode: pickletools.OpcodeInfo, stack: list[_Value | None]) -> Iterator[_Value]:
    for kind in reversed(opcode.stack_before):
        if kind is pickletools.stackslice:
            while (value := stack.pop()) is not None:
                yield value
        elif kind is not pickletools.markobject:
            value = stack.pop()
            if value is not None:
                yield value
