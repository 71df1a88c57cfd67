"""BufferPool that is used again: never while anybody holds an array on it, whichever backend that is."""

import mmap

import numpy as np
import pytest

from pipeline.inputs.reading.buffers import BufferPool

SHAPE = (16, 32, 64)


@pytest.mark.parametrize(("shape", "dtype"), [(SHAPE, "uint8"), ((3, 5), "float32"), ((0, 4), "uint8")])
def test_arrays_are_whole_writable_and_aligned(shape, dtype):
    array = BufferPool().array(shape, np.dtype(dtype))
    assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
    assert not array.size or array.ctypes.data % 4096 == 0
    array[:] = 1


def test_a_system_without_huge_pages_has_arrays_too(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    array = BufferPool().array((3, 5), np.dtype(np.int16))
    array[:] = 7
    assert array.sum() == 105


def test_it_comes_back_after_the_last_view():
    memory = BufferPool()
    array = memory.array(SHAPE, np.dtype(np.uint8))
    place, view = array.ctypes.data, array.view(np.int32).reshape(-1)[5:9].T
    del array
    assert memory.array(SHAPE, np.dtype(np.uint8)).ctypes.data != place
    del view
    assert memory.array((8, 2), np.dtype(np.float32)).ctypes.data == place, "a smaller array fits too"


def test_small_memory_gives_way_to_larger():
    memory = BufferPool()
    arrays = [memory.array((size,), np.dtype(np.uint8)) for size in (10, 20, 30)]
    del arrays
    larger = [memory.array((100_000,), np.dtype(np.uint8)) for _ in range(4)]
    assert not memory._free
    for number, array in enumerate(larger):
        array[:] = number
    assert [array.max() for array in larger] == [0, 1, 2, 3]


def numbered(memory: BufferPool, count: int):
    for number in range(count):
        array = memory.array(SHAPE, np.dtype(np.uint8))
        array[:] = number
        yield array
        del array


def held_by_tensorflow(memory: BufferPool, count: int) -> list:
    """As Keras feeds a PyDataset."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: numbered(memory, count), output_signature=tf.TensorSpec(SHAPE, tf.uint8)
    )
    return list(dataset.prefetch(2))


def held_by_jax(memory: BufferPool, count: int) -> list:
    jax = pytest.importorskip("jax")
    put = (
        jax.device_put,
        jax.numpy.asarray,
        jax.jit(lambda array: array),
        lambda array: jax.numpy.asarray(array)[:, 1:],
    )
    return [put[number % len(put)](array) for number, array in enumerate(numbered(memory, count))]


@pytest.mark.parametrize("held", [held_by_tensorflow, held_by_jax])
def test_tensors_that_share_it_keep_their_values(held):
    memory = BufferPool()
    tensors = held(memory, 12)
    list(numbered(memory, 30))  # everything that is free is written over
    for number, tensor in enumerate(tensors):
        assert (np.asarray(tensor) == number).all()


@pytest.mark.parametrize("held", [held_by_tensorflow, held_by_jax])
def test_what_a_backend_gave_back_is_used_again(held):
    memory = BufferPool()
    for _ in range(5):
        tensors = held(memory, 4)
        assert len(tensors) == 4
        del tensors
    list(numbered(memory, 1))  # TensorFlow gives back what it held when it next asks for something
    assert len(memory._free) < 12, "each batch took new memory"
