"""Loops over vectors, compiled by LLVM.

A kernel is written in Python on `Number`, `Pointer` and `Vector`: their operators write down what is to be computed,
and `Code.compile` makes machine code of it, which runs in the threads that torch computes with.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import llvmlite.binding as llvm
from llvmlite import ir

from styleplugin.kernels import Target, openmp, store

_OPENMP = openmp()
_ROOM = 64 << 20
"""Bytes that are more than LLVM takes for a kernel."""
_EFFORT = 3
"""Of LLVM's code generator, 0 to 3."""
_TUNING = {"speed_level": 2, "loop_unrolling": False, "loop_vectorization": False, "slp_vectorization": False}
"""For LLVM's passes; the loops that matter are written as vectors already."""
_THREAD, _THREADS = "omp_get_thread_num", "omp_get_num_threads"

P = TypeVar("P", bound="_Place")

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
for _name in (_THREAD, _THREADS):
    llvm.add_symbol(_name, ctypes.cast(getattr(_OPENMP, _name), ctypes.c_void_p).value)


class Code:
    """A function in the making; what is done with its values is appended to it."""

    def __init__(self, cpu: Target) -> None:
        self.cpu = cpu
        self._integer, self._float = ir.IntType(64), ir.FloatType()
        self._vector = ir.VectorType(self._float, cpu.lanes)
        self._module = ir.Module("kernel")
        self._function = ir.Function(
            self._module, ir.FunctionType(ir.VoidType(), [self._integer.as_pointer()]), "kernel"
        )
        # Variables are set up before everything else, where LLVM finds them and puts them into registers.
        self._variables = ir.IRBuilder(self._function.append_basic_block("variables"))
        self._start = self._function.append_basic_block("start")
        self._at = ir.IRBuilder(self._start)
        self._arguments = 0

    def number(self) -> Number:
        """Return the next argument, a whole number."""
        place = self._at.gep(self._function.args[0], [self._constant(self._arguments).value])
        self._arguments += 1
        return Number(self, self._at.load(place))

    def pointer(self) -> Pointer:
        """Return the next argument, the address of float32 values."""
        return Pointer(self, self._at.inttoptr(self.number().value, self._float.as_pointer()))

    def sums(self) -> Sums:
        """Return the next argument, the address of float64 values to add to."""
        return Sums(self, self._at.inttoptr(self.number().value, ir.DoubleType().as_pointer()))

    def constant(self, value: float) -> Vector:
        """Return a vector of one fixed value."""
        return Vector(self, ir.Constant(self._vector, [float(value)] * self.cpu.lanes))

    def broadcast(self, number: Number) -> Vector:
        """Return a vector of one number."""
        return Vector(self, self._lanes_of(self._at.sitofp(number.value, self._float)))

    def variable(self, value: Vector) -> Variable:
        """Return a place for a vector that changes, with its first value."""
        return Variable(self, value)

    def thread(self) -> Number:
        """Return the number of the thread that runs this, from 0."""
        return self._ask(_THREAD)

    def parallel_range(self, count: Number) -> AbstractContextManager[Number]:
        """Repeat what is written inside for the part of 0, 1, ... below `count` that falls to this thread."""
        thread, threads = self.thread(), self._ask(_THREADS)
        return self.loop(count * thread // threads, count * (thread + 1) // threads)

    @contextmanager
    def loop(self, start: Number | int, stop: Number | int, step: int = 1) -> Iterator[Number]:
        """Repeat what is written inside for start, start + step, ... below stop."""
        first, last = (Number.of(self, bound).value for bound in (start, stop))
        before = self._at.block
        test, body, end = (self._function.append_basic_block(name) for name in ("test", "body", "end"))
        self._at.branch(test)
        self._at.position_at_end(test)
        index = self._at.phi(self._integer)
        index.add_incoming(first, before)
        self._at.cbranch(self._at.icmp_signed("<", index, last), body, end)
        self._at.position_at_end(body)
        yield Number(self, index)
        index.add_incoming(self._at.add(index, self._constant(step).value), self._at.block)
        self._at.branch(test)
        self._at.position_at_end(end)

    @contextmanager
    def vectors(self, count: Number) -> Iterator[Number]:
        """Go through `count` values, a vector or more, by vectors; the last one begins earlier, to end with them."""
        with self.loop(0, count, self.cpu.lanes) as first:
            yield first.minimum(count - self.cpu.lanes)

    def multiply(
        self,
        sums: list[list[Variable]],
        length: Number,
        rows: list[Pointer],
        step: Number | int,
        columns: list[Pointer],
        column_step: Number | int,
    ) -> None:
        """Add the products of rows and columns of two matrices to sums.

        Args:
            sums: By row, by vector of columns.
            length: Of the rows and columns.
            rows: Where each row of the first matrix begins.
            step: Between the values of a row.
            columns: Where each vector of columns of the second matrix begins.
            column_step: Between the vectors of the same columns.
        """
        with self.loop(0, length) as index:
            factors = [(column + index * column_step).load() for column in columns]
            for row, totals in zip(rows, sums, strict=True):
                value = (row + index * step).broadcast()
                for total, factor in zip(totals, factors, strict=True):
                    total.set(total.get() + value * factor)

    def compile(self) -> Callable[..., None]:
        """Compile what was written down.

        Returns:
            A function of the number of threads and all arguments, addresses as whole numbers. It returns when all
            threads have ended.

        Raises:
            MemoryError: There is hardly any memory left.
        """
        _check_room()
        self._variables.branch(self._start)
        self._at.ret_void()
        text = str(self._module)
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=self.cpu.name, features=self.cpu.features, opt=_EFFORT
        )
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        key = "\n".join(map(str, (llvm.llvm_version_info, self.cpu, _EFFORT, _TUNING, text)))
        data = store.kept(key, lambda: _machine_code(text, machine))
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        address, arguments = engine.get_function_address("kernel"), ctypes.c_int64 * self._arguments

        def run(threads: int, *given: int) -> None:
            _OPENMP.GOMP_parallel(address, arguments(*given), threads, 0)

        run.engine = engine  # Owns the machine code.
        return run

    def _constant(self, value: int) -> Number:
        """Return a fixed whole number."""
        return Number(self, ir.Constant(self._integer, value))

    def _lanes_of(self, value: Any) -> Any:
        number, lanes = ir.IntType(32), self.cpu.lanes
        nothing = ir.Constant(self._vector, ir.Undefined)
        one = self._at.insert_element(nothing, value, ir.Constant(number, 0))
        return self._at.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(number, lanes), [0] * lanes))

    def _ask(self, name: str) -> Number:
        integer = ir.IntType(32)
        function = self._module.globals.get(name) or ir.Function(self._module, ir.FunctionType(integer, []), name)
        return Number(self, self._at.sext(self._at.call(function, []), self._integer))


def _check_room() -> None:
    """Raise MemoryError where LLVM might find no memory, since it would end the process."""
    try:
        mmap.mmap(-1, _ROOM).close()
    except OSError as error:
        raise MemoryError("There is no memory to compile code in.") from error


def _machine_code(text: str, machine: Any) -> bytes:
    """Compile a module, given as text."""
    module, tuning = llvm.parse_assembly(text), llvm.create_pipeline_tuning_options()
    for name, value in _TUNING.items():
        setattr(tuning, name, value)
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_object(module)


class Number:
    """A whole number."""

    def __init__(self, code: Code, value: Any) -> None:
        self._code, self.value = code, value

    @classmethod
    def of(cls, code: Code, value: Number | int) -> Number:
        """Return a number for a Python one."""
        return code._constant(value) if isinstance(value, int) else value

    def _with(self, operation: str, other: Number | int) -> Number:
        return Number(self._code, getattr(self._code._at, operation)(self.value, Number.of(self._code, other).value))

    def __add__(self, other: Number | int) -> Number:
        return self._with("add", other)

    def __sub__(self, other: Number | int) -> Number:
        return self._with("sub", other)

    def __mul__(self, other: Number | int) -> Number:
        return self._with("mul", other)

    def __floordiv__(self, other: Number | int) -> Number:
        """Divide numbers that are not negative."""
        return self._with("sdiv", other)

    __radd__, __rmul__ = __add__, __mul__

    def minimum(self, other: Number | int) -> Number:
        """Return the smaller of two numbers."""
        at, limit = self._code._at, Number.of(self._code, other).value
        return Number(self._code, at.select(at.icmp_signed("<", self.value, limit), self.value, limit))


class _Place:
    """A place in memory; what is added to it counts in values of its kind."""

    def __init__(self, code: Code, value: Any) -> None:
        self._code, self._value = code, value

    def __add__(self: P, values: Number | int) -> P:
        return type(self)(self._code, self._code._at.gep(self._value, [Number.of(self._code, values).value]))


class Pointer(_Place):
    """A place among float32 values."""

    def load(self) -> Vector:
        """Read a vector."""
        return Vector(self._code, self._code._at.load(self._whole(), align=4))

    def broadcast(self) -> Vector:
        """Read one value into all lanes of a vector."""
        return Vector(self._code, self._code._lanes_of(self._code._at.load(self._value)))

    def store(self, vector: Vector) -> None:
        """Write a vector."""
        self._code._at.store(vector.value, self._whole(), align=4)

    def store_sum(self, vector: Vector, bias: Pointer, *, at_least_zero: bool) -> None:
        """Write one value: the sum of the lanes of a vector and of a value in memory."""
        at, code = self._code._at, self._code
        kind = ir.FunctionType(code._float, [code._float, code._vector])
        name = f"llvm.vector.reduce.fadd.v{code.cpu.lanes}f32"
        function = code._module.globals.get(name) or ir.Function(code._module, kind, name)
        total = at.call(function, [at.load(bias._value), vector.value], fastmath=("reassoc",))
        if at_least_zero:
            zero = ir.Constant(code._float, 0.0)
            total = at.select(at.fcmp_ordered("<", total, zero), zero, total)
        at.store(total, self._value)

    def _whole(self) -> Any:
        return self._code._at.bitcast(self._value, self._code._vector.as_pointer())


class Sums(_Place):
    """A place among float64 values, to which vectors are added."""

    def add(self, vector: Vector, lost: Sums) -> None:
        """Add a vector to the values from here on, and what rounding takes from these sums to others (TwoSum)."""
        at = self._code._at
        wide = ir.VectorType(ir.DoubleType(), self._code.cpu.lanes)
        here, there = (at.bitcast(place._value, wide.as_pointer()) for place in (self, lost))
        before, value = at.load(here, align=8), at.fpext(vector.value, wide)
        total = at.fadd(before, value)
        parallel_range = at.fsub(total, before)
        rest = at.fadd(at.fsub(before, at.fsub(total, parallel_range)), at.fsub(value, parallel_range))
        at.store(total, here, align=8)
        at.store(at.fadd(at.load(there, align=8), rest), there, align=8)


class Vector:
    """As many float32 values as a register holds. Products and sums may round once together."""

    _FLAGS = ("contract", "nsz")

    def __init__(self, code: Code, value: Any) -> None:
        self._code, self.value = code, value

    def _with(self, operation: str, other: Vector | float) -> Vector:
        right = other if isinstance(other, Vector) else self._code.constant(other)
        return Vector(self._code, getattr(self._code._at, operation)(self.value, right.value, flags=self._FLAGS))

    def __add__(self, other: Vector | float) -> Vector:
        return self._with("fadd", other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._with("fsub", other)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._with("fmul", other)

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._with("fdiv", other)

    __rmul__ = __mul__

    def at_least(self, other: Vector | float) -> Vector:
        """Return the larger values; what is not a number stays."""
        at, limit = self._code._at, other if isinstance(other, Vector) else self._code.constant(other)
        return Vector(self._code, at.select(at.fcmp_ordered("<", self.value, limit.value), limit.value, self.value))


class Variable:
    """A vector that changes in a loop."""

    def __init__(self, code: Code, value: Vector) -> None:
        self._code = code
        self._place = self._code._variables.alloca(self._code._vector)
        self.set(value)

    def get(self) -> Vector:
        """Return the vector as it is now."""
        return Vector(self._code, self._code._at.load(self._place))

    def set(self, value: Vector) -> None:
        """Change the vector."""
        self._code._at.store(value.value, self._place)
