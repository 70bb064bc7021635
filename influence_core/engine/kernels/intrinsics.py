"""Inner loops written as vector instructions of 256 bits, for gradient_loop.py, factor_loop.py and position_sums.py.

    make         6 rows of G = sum_t d_t a_t^T, 64 columns: 12 vectors of sums stay in registers over all positions
    reader       square, L1 norm, products and sketch of rows of 64 numbers, each number fetched once
    correlator   a small kernel slid over a picture
    scatter_signed, copier, fetch    sums to buckets, a copy of a known length, memory requested before it is needed
    transpose_8x4                    8 rows of 4 numbers to 4 rows of 8: columns whose positions lie together

Left to the compiler, the first ran at a third of this speed: it could not know lengths, nor that nothing overlaps.
The code names no processor: where vectors are narrower, LLVM uses two for one.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from influence_core.engine.kernels.tasks import COLUMNS, ROWS, TAPS

BITS, ABREAST = 256, 2
"""Bits of a vector, and vectors of one row of G that `make` holds at once."""
FUSED = ("contract",)
"""Flags that let a product and its sum be one instruction."""


def i64(number: int) -> ir.Constant:
    """A constant of 64 bits."""
    return ir.Constant(ir.IntType(64), number)


def pointer_at(builder: Any, address: Any, offset: Any, kind: Any) -> Any:
    """A pointer to a value of type `kind`, `offset` bytes after an address."""
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def added(builder: Any, total: Any, x: Any, y: Any) -> Any:
    """total + x * y."""
    return builder.fadd(total, builder.fmul(x, y, flags=FUSED), flags=FUSED)


def repeated(builder: Any, number: Any, kind: Any) -> Any:
    """A vector that holds one number in every lane."""
    nothing, lane = ir.Constant(kind, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(nothing, number, ir.Constant(lane, 0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(lane, kind.count), [0] * kind.count)
    )


def over_numbers(zero: Any, count: int, write: Callable[..., None]) -> Any:
    """Signature and code of an intrinsic that takes `zero` and `count` numbers of 64 bits, and returns nothing.

    write(builder, number, vector, *numbers) writes the code; `number` and `vector` are the types in the format of zero.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(zero)
        write(builder, number, ir.VectorType(number, BITS // zero.bitwidth), *args[1:])
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * count), generate


@intrinsic
def pointer(context: Any, like: Any, address: Any) -> Any:
    """A pointer to numbers of the format of `like`."""
    signature = types.CPointer(like)(like, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return signature, generate


@intrinsic
def make(context: Any, zero: Any, d: Any, a: Any, g: Any, positions: Any) -> Any:
    """g = d^T a, at addresses of d (positions, 6), a (positions, 64), g (6, 64), contiguous; `zero`: the format."""
    lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

    def write(builder: Any, number: Any, vector: Any, d: Any, a: Any, g: Any, t: Any) -> None:
        with cgutils.for_range(builder, i64(COLUMNS // (ABREAST * lanes))) as part:
            skip = builder.mul(part.index, i64(ABREAST * lanes * size))
            places = [i64((r * COLUMNS + v * lanes) * size) for r in range(ROWS) for v in range(ABREAST)]
            places = [pointer_at(builder, g, builder.add(skip, place), vector) for place in places]
            sums = [cgutils.alloca_once(builder, vector) for _ in places]
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, t) as position:
                line = builder.add(skip, builder.mul(position.index, i64(COLUMNS * size)))
                here = [builder.add(line, i64(v * lanes * size)) for v in range(ABREAST)]
                loaded = [builder.load(pointer_at(builder, a, offset, vector), align=size) for offset in here]
                for r in range(ROWS):
                    place = builder.add(builder.mul(position.index, i64(ROWS)), i64(r))
                    one = builder.load(pointer_at(builder, d, builder.mul(place, i64(size)), number))
                    factor = repeated(builder, one, vector)
                    for total, x in zip(sums[r * ABREAST :], loaded, strict=False):
                        builder.store(added(builder, builder.load(total), factor, x), total)
            for total, place in zip(sums, places, strict=True):
                builder.store(builder.load(total), place, align=size)

    return over_numbers(zero, 4, write)


def reader(k: int, folds: bool) -> Any:
    """An intrinsic that reads rows of 64 numbers g: their square, L1 norm, k products, and, if it `folds`, the sketch.

    Its arguments, all addresses but `rows`: g (rows, 64); v (rows, k, 64); signs (rows, 64); buckets; places (rows),
    the bytes from `buckets` to where each row begins, 64-bit; rows; sums (2 + k) vectors, which are added to.
    """

    @intrinsic
    def read(
        context: Any, zero: Any, g: Any, v: Any, signs: Any, buckets: Any, places: Any, rows: Any, sums: Any
    ) -> Any:
        lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

        def write(builder: Any, number: Any, vector: Any, *numbers: Any) -> None:
            g, v, signs, buckets, places, rows, sums = numbers
            width, kind = BITS // 8, ir.FunctionType(vector, [vector])
            name = f"llvm.fabs.v{lanes}f{zero.bitwidth}"
            absolute = cgutils.get_or_insert_function(builder.module, kind, name)
            totals = [cgutils.alloca_once(builder, vector) for _ in range(2 + k)]
            kept = [pointer_at(builder, sums, i64(width * index), vector) for index in range(2 + k)]
            for total, place in zip(totals, kept, strict=True):
                builder.store(builder.load(place, align=size), total)
            with cgutils.for_range(builder, rows) as row:
                line = builder.mul(row.index, i64(COLUMNS * size))
                own, sign = builder.add(g, line), builder.add(signs, line)
                along = builder.add(v, builder.mul(line, i64(k)))
                bucket = buckets
                if folds:
                    place = pointer_at(builder, places, builder.mul(row.index, i64(8)), ir.IntType(64))
                    bucket = builder.add(buckets, builder.load(place))
                for offset in range(0, COLUMNS * size, width):
                    x = builder.load(pointer_at(builder, own, i64(offset), vector), align=size)
                    grown = [added(builder, builder.load(totals[0]), x, x)]
                    grown.append(builder.fadd(builder.load(totals[1]), builder.call(absolute, [x])))
                    for look in range(k):
                        place = pointer_at(builder, along, i64(COLUMNS * size * look + offset), vector)
                        y = builder.load(place, align=size)
                        grown.append(added(builder, builder.load(totals[2 + look]), x, y))
                    for total, value in zip(totals, grown, strict=True):
                        builder.store(value, total)
                    if folds:
                        into = pointer_at(builder, bucket, i64(offset), vector)
                        s = builder.load(pointer_at(builder, sign, i64(offset), vector), align=size)
                        builder.store(added(builder, builder.load(into, align=size), s, x), into, align=size)
            for total, place in zip(totals, kept, strict=True):
                builder.store(builder.load(total), place, align=size)

        return over_numbers(zero, 7, write)

    return read


@intrinsic
def scatter_signed(context: Any, zero: Any, buckets: Any, signs: Any, g: Any) -> Any:
    """buckets += signs * g, at addresses of 64 numbers each."""
    lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

    def write(builder: Any, number: Any, vector: Any, *addresses: Any) -> None:
        for offset in (i64(v * lanes * size) for v in range(COLUMNS // lanes)):
            into, sign, x = (pointer_at(builder, address, offset, vector) for address in addresses)
            total, *pair = (builder.load(place, align=size) for place in (into, sign, x))
            builder.store(added(builder, total, *pair), into, align=size)

    return over_numbers(zero, 3, write)


def correlator(rows: int) -> Any:
    """An intrinsic that writes a kernel of 8 columns: each row is the sum over y, z of d[y, z] x[y + row, z : z + 8].

    Its arguments: addresses of d (height, width), of x with rows `pitch` bytes apart, and of the kernel (rows, 8).
    """

    @intrinsic
    def correlate(
        context: Any, zero: Any, d: Any, x: Any, kernel: Any, height: Any, width: Any, pitch: Any
    ) -> Any:
        lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

        def write(builder: Any, number: Any, vector: Any, *numbers: Any) -> None:
            d, x, kernel, height, width, pitch = numbers
            parts = [(r, v) for r in range(rows) for v in range(TAPS // lanes)]
            sums = [cgutils.alloca_once(builder, vector) for _ in parts]
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, height) as y, cgutils.for_range(builder, width) as z:
                skip = builder.add(builder.mul(y.index, width), z.index)
                one = builder.load(pointer_at(builder, d, builder.mul(skip, i64(size)), number))
                factor = repeated(builder, one, vector)
                along = builder.add(builder.mul(y.index, pitch), builder.mul(z.index, i64(size)))
                for total, (r, v) in zip(sums, parts, strict=True):
                    offset = builder.add(along, i64(v * lanes * size))
                    offset = builder.add(offset, builder.mul(pitch, i64(r)))
                    window = builder.load(pointer_at(builder, x, offset, vector), align=size)
                    builder.store(added(builder, builder.load(total), factor, window), total)
            for total, (r, v) in zip(sums, parts, strict=True):
                place = pointer_at(builder, kernel, i64((r * TAPS + v * lanes) * size), vector)
                builder.store(builder.load(total), place, align=size)

        return over_numbers(zero, 6, write)

    return correlate


def copier(numbers: int) -> Any:
    """An intrinsic that copies `numbers` numbers, a multiple of 8, from one address to another."""

    @intrinsic
    def copy(context: Any, zero: Any, into: Any, source: Any) -> Any:
        lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

        def write(builder: Any, number: Any, vector: Any, *addresses: Any) -> None:
            for offset in (i64(v * lanes * size) for v in range(numbers // lanes)):
                there, here = (pointer_at(builder, address, offset, vector) for address in addresses)
                builder.store(builder.load(here, align=size), there, align=size)

        return over_numbers(zero, 2, write)

    return copy


@intrinsic
def transpose_8x4(context: Any, zero: Any, into: Any, source: Any, apart: Any, beside: Any) -> Any:
    """Transpose 8 rows of 4 numbers, `beside` bytes apart, to 4 rows of 8, `apart` bytes apart."""
    size = zero.bitwidth // 8
    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    first, second = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]

    def write(builder: Any, number: Any, _: Any, into: Any, source: Any, apart: Any, beside: Any) -> None:
        half, vector, index = ir.VectorType(number, 4), ir.VectorType(number, 8), ir.IntType(32)

        def mixed(one: Any, other: Any, order: list[int]) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(index, len(order)), order))

        places = [pointer_at(builder, source, builder.mul(beside, i64(r)), half) for r in range(8)]
        rows = [builder.load(place, align=size) for place in places]
        pairs = [
            mixed(rows[r], rows[r + 4], list(range(8))) for r in range(4)
        ]  # float32: 2 lanes of 128 bits
        for start, order in ((0, low), (2, high)):
            left, right = mixed(pairs[0], pairs[1], order), mixed(pairs[2], pairs[3], order)
            for column, part in ((start, first), (start + 1, second)):
                place = pointer_at(builder, into, builder.mul(apart, i64(column)), vector)
                builder.store(mixed(left, right, part), place, align=size)

    return over_numbers(zero, 4, write)


@intrinsic
def fetch(context: Any, address: Any) -> Any:
    """Prefetch 256 bytes that will be read soon: fetching them from memory takes longer than making a block."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), flag, flag, flag])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(0, 256, 64):
            place = pointer_at(builder, args[0], i64(line), ir.IntType(8))
            builder.call(ask, [place, ir.Constant(flag, 0), ir.Constant(flag, 2), ir.Constant(flag, 1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate
