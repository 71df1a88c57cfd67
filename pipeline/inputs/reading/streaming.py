"""Bytes moved past the processor's caches: for what is written once, is large, and is read later by others."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 32
"""Bytes that are moved at a time."""


@intrinsic
def copy_streaming(typing_context, target, source):
    """Copy WIDTH bytes between two addresses, uintp; the target a multiple of WIDTH. `fence_streaming_stores` before others read it."""
    block = ir.VectorType(ir.IntType(8), WIDTH)

    def generate(context, builder, signature, arguments):
        target, source = (builder.inttoptr(address, block.as_pointer()) for address in arguments)
        store = builder.store(builder.load(source, align=1), target, align=WIDTH)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


@intrinsic
def fence_streaming_stores(typing_context):
    """Let every other thread see what was streamed."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate
