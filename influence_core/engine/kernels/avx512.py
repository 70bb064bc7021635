"""Can a gradient be read while it is still in registers? Where there are 32 of 512 bits (AVX-512), yes.

    made_read    6 rows of G = sum_t d_t a_t^T, 32 columns (float64: 16), made in 12 registers; square, L1 norm,
                 products and sketch are taken from there into 10 more. Nothing of G is ever written.

With 16 registers of 256 bits (AVX2) this does not fit: factor_loop.py then makes a block in the innermost cache and
reads it there. On a Zen 4, which can do either, all in its innermost cache, a number with 64 positions takes 1.35 ns
this way and 1.56 that way, with 4 positions 0.27 and 0.30; 64 products alone would take 1.10.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from influence_core.engine.kernels.intrinsics import ABREAST, COLUMNS, ROWS, added, at, repeated, whole

WIDE = 512


def fits() -> bool:
    """Whether the processor that loops are compiled for has such registers; NUMBA_CPU_NAME names another one."""
    name, features = getattr(config, "CPU_NAME", None), getattr(config, "CPU_FEATURES", None)
    if name is not None or features is not None:
        return "+avx512f" in (features or "")
    return bool(llvm.get_host_cpu_features().get("avx512f"))


def made_read(k: int, folds: bool) -> Any:
    """An intrinsic that adds up the readings of whole blocks of 6 rows and 64 columns of one sample's gradient.

    Its arguments, addresses but for the numbers named: d, blocks (positions, 6) that lie `apart` bytes from each other;
    a (positions, 64); positions; apart; v (rows, k, 64); signs (rows, 64); buckets; places (rows), where in the buckets
    each row begins, in bytes, 64-bit; rows, a multiple of 6; sums (2 + k) vectors of 512 bits, added to.
    """

    @intrinsic
    def read(
        context: Any,
        zero: Any,
        d: Any,
        a: Any,
        positions: Any,
        apart: Any,
        v: Any,
        signs: Any,
        buckets: Any,
        places: Any,
        rows: Any,
        sums: Any,
    ) -> Any:
        lanes, size, width = WIDE // zero.bitwidth, zero.bitwidth // 8, WIDE // 8

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = context.get_value_type(zero)
            vector = ir.VectorType(number, lanes)
            kind = ir.FunctionType(vector, [vector])
            name = f"llvm.fabs.v{lanes}f{zero.bitwidth}"
            absolute = cgutils.get_or_insert_function(builder.module, kind, name)
            _, d, a, positions, apart, v, signs, buckets, places, rows, sums = args

            def load(address: Any, offset: Any, kind: Any = vector) -> Any:
                return builder.load(at(builder, address, offset, kind), align=size)

            totals = [cgutils.alloca_once(builder, vector) for _ in range(2 + k)]
            block = [cgutils.alloca_once(builder, vector) for _ in range(ROWS * ABREAST)]
            for index, total in enumerate(totals):
                builder.store(load(sums, whole(width * index)), total)
            blocks = builder.udiv(rows, whole(ROWS))
            with (
                cgutils.for_range(builder, blocks) as group,
                cgutils.for_range(builder, whole(COLUMNS // (ABREAST * lanes))) as part,
            ):
                skip = builder.mul(part.index, whole(ABREAST * width))
                left = builder.add(d, builder.mul(group.index, apart))
                for total in block:
                    builder.store(ir.Constant(vector, None), total)
                with cgutils.for_range(builder, positions) as position:
                    line = builder.add(skip, builder.mul(position.index, whole(COLUMNS * size)))
                    columns = [load(a, builder.add(line, whole(n * width))) for n in range(ABREAST)]
                    here = builder.mul(position.index, whole(ROWS * size))
                    for r in range(ROWS):
                        one = load(left, builder.add(here, whole(r * size)), number)
                        factor = repeated(builder, one, vector)
                        for total, x in zip(block[r * ABREAST :], columns, strict=False):
                            builder.store(added(builder, builder.load(total), factor, x), total)
                first = builder.mul(group.index, whole(ROWS))
                for r in range(ROWS):
                    row = builder.add(first, whole(r))
                    line = builder.add(skip, builder.mul(row, whole(COLUMNS * size)))
                    along = builder.add(skip, builder.mul(row, whole(COLUMNS * size * k)))
                    bucket = buckets
                    if folds:
                        place = load(places, builder.mul(row, whole(8)), ir.IntType(64))
                        bucket = builder.add(builder.add(buckets, place), skip)
                    for n in range(ABREAST):
                        x = builder.load(block[r * ABREAST + n])
                        grown = [added(builder, builder.load(totals[0]), x, x)]
                        grown.append(builder.fadd(builder.load(totals[1]), builder.call(absolute, [x])))
                        for look in range(k):
                            y = load(v, builder.add(along, whole(COLUMNS * size * look + n * width)))
                            grown.append(added(builder, builder.load(totals[2 + look]), x, y))
                        for total, value in zip(totals, grown, strict=True):
                            builder.store(value, total)
                        if folds:
                            into = at(builder, bucket, whole(n * width), vector)
                            sign = load(signs, builder.add(line, whole(n * width)))
                            old = builder.load(into, align=size)
                            builder.store(added(builder, old, sign, x), into, align=size)
            for index, total in enumerate(totals):
                place = at(builder, sums, whole(width * index), vector)
                builder.store(builder.load(total), place, align=size)
            return context.get_dummy_value()

        return types.void(zero, *[types.int64] * 10), generate

    return read
