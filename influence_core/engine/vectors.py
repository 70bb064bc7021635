"""Which inner loops must be vectors whatever a compiler thinks? Two, as instructions of 256 bits, for compiled.py.

    make     4 rows of G = sum_t d_t a_t^T, 64 columns: 8 vectors of sums stay in registers over all positions
    spread   64 signed numbers added to 64 buckets

Left to the compiler, the first ran at a third and the second at a seventh of this speed (0.94 and 0.56 ns a number, now
0.35 and 0.08, at 16 positions in float32): it could not know lengths, nor that nothing overlaps. Written without
naming a processor: where vectors are narrower, LLVM takes two for one.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS, COLUMNS = 4, 64
"""Of one block that `make` writes. 4 rows of 2 vectors are 8 sums: what 2 multipliers of 4 cycles keep busy."""
BITS, ABREAST = 256, 2
FUSED = ("contract",)
"""A product and its sum may be one instruction."""


def _whole(number: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), number)


def _at(builder: Any, address: Any, offset: Any, kind: Any) -> Any:
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _added(builder: Any, total: Any, x: Any, y: Any) -> Any:
    return builder.fadd(total, builder.fmul(x, y, flags=FUSED), flags=FUSED)


def _repeated(builder: Any, number: Any, kind: Any) -> Any:
    """A vector of one number."""
    nothing, lane = ir.Constant(kind, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(nothing, number, ir.Constant(lane, 0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(lane, kind.count), [0] * kind.count)
    )


@intrinsic
def pointer(context: Any, like: Any, address: Any) -> Any:
    """A pointer to numbers of the format of `like`."""
    signature = types.CPointer(like)(like, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return signature, generate


@intrinsic
def make(context: Any, zero: Any, d: Any, a: Any, g: Any, positions: Any) -> Any:
    """Addresses of d (positions, 4), a (positions, 64) and g (4, 64), each contiguous; `zero` names the format."""
    lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(zero)
        vector = ir.VectorType(number, lanes)
        _, d, a, g, t = args
        with cgutils.for_range(builder, _whole(COLUMNS // (ABREAST * lanes))) as part:
            skip = builder.mul(part.index, _whole(ABREAST * lanes * size))
            places = [_whole((r * COLUMNS + v * lanes) * size) for r in range(ROWS) for v in range(ABREAST)]
            places = [_at(builder, g, builder.add(skip, place), vector) for place in places]
            sums = [cgutils.alloca_once(builder, vector) for _ in places]
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, t) as position:
                line = builder.add(skip, builder.mul(position.index, _whole(COLUMNS * size)))
                here = [builder.add(line, _whole(v * lanes * size)) for v in range(ABREAST)]
                loaded = [builder.load(_at(builder, a, offset, vector), align=size) for offset in here]
                for r in range(ROWS):
                    place = builder.add(builder.mul(position.index, _whole(ROWS)), _whole(r))
                    one = builder.load(_at(builder, d, builder.mul(place, _whole(size)), number))
                    factor = _repeated(builder, one, vector)
                    for total, x in zip(sums[r * ABREAST :], loaded, strict=False):
                        builder.store(_added(builder, builder.load(total), factor, x), total)
            for total, place in zip(sums, places, strict=True):
                builder.store(builder.load(total), place, align=size)
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * 4), generate


@intrinsic
def spread(context: Any, zero: Any, buckets: Any, signs: Any, g: Any) -> Any:
    """Addresses of 64 numbers each: buckets += signs * g."""
    lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(context.get_value_type(zero), lanes)
        for offset in (_whole(v * lanes * size) for v in range(COLUMNS // lanes)):
            into, sign, x = (_at(builder, address, offset, vector) for address in args[1:])
            total, *pair = (builder.load(place, align=size) for place in (into, sign, x))
            builder.store(_added(builder, total, *pair), into, align=size)
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * 3), generate


@intrinsic
def copy(context: Any, zero: Any, into: Any, source: Any) -> Any:
    """Addresses of 64 numbers each."""
    lanes, size = BITS // zero.bitwidth, zero.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(context.get_value_type(zero), lanes)
        for offset in (_whole(v * lanes * size) for v in range(COLUMNS // lanes)):
            there, here = (_at(builder, address, offset, vector) for address in args[1:])
            builder.store(builder.load(here, align=size), there, align=size)
        return context.get_dummy_value()

    return types.void(zero, *[types.int64] * 2), generate
