"""FLOPs and memory of graphs that were worked out by hand."""

import keras
import pytest
import tensorflow as tf
from keras import ops

from pipeline.runtime.graph import count_flops, operations_needed_for, peak_bytes


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def values(*shape: int, dtype="float32") -> tf.Tensor:
    return tf.raw_ops.Placeholder(dtype=dtype, shape=shape)


def flops(*results) -> int:
    return count_flops(operations_needed_for(*results))


def memory(*results) -> int:
    return peak_bytes(operations_needed_for(*results))


# -------------------------------------------------------------------------------------------------------------- FLOPs


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_product_costs_two_for_each_pair_of_factors(first, second):
    left, right = (5, 3) if first else (3, 5), (7, 5) if second else (5, 7)
    assert flops(tf.matmul(values(*left), values(*right), transpose_a=first, transpose_b=second)) == 2 * 3 * 5 * 7
    left, right = (2, 4, *left), (4, *right)  # the second one for each of two
    product = tf.matmul(values(*left), values(*right), transpose_a=first, transpose_b=second)
    assert flops(product) == 2 * 4 * 2 * 3 * 5 * 7


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("btf,fk->btk", [(2, 3, 5), (5, 7)], 2 * 2 * 3 * 5 * 7),
        ("b...f,fk->b...k", [(2, 3, 4, 5), (5, 7)], 2 * 2 * 3 * 4 * 5 * 7),
        ("kij,bkj->bki", [(3, 4, 5), (2, 3, 5)], 2 * 2 * 3 * 4 * 5),
        ("bij->bji", [(2, 3, 5)], 0),
    ],
)
def test_einsum(equation, shapes, expected):
    assert flops(tf.einsum(equation, *(values(*shape) for shape in shapes))) == expected
    assert flops(ops.einsum(equation, *(values(*shape) for shape in shapes))) == expected, "as Keras takes it apart"


def test_convolutions():
    convolved = ops.conv(values(2, 9, 5), values(3, 5, 7), padding="same")
    assert flops(convolved) == 2 * (2 * 9 * 7) * (3 * 5)
    assert flops(tf.nn.depthwise_conv2d(values(1, 6, 6, 2), values(3, 3, 2, 4), [1] * 4, "SAME")) == 2 * 6 * 6 * 8 * 9


def test_element_wise_work_and_what_is_not_needed_cost_nothing():
    rows = values(3, 5)
    tf.matmul(rows, values(5, 7))
    assert flops(tf.nn.softmax(rows) * 2 + tf.reduce_sum(rows)) == 0


@pytest.mark.parametrize(("layer", "gates"), [(keras.layers.LSTM, 4), (keras.layers.GRU, 3)])
@pytest.mark.parametrize("sequences", [False, True])
def test_a_recurrent_layer_costs_every_frame(layer, gates, sequences):
    videos, frames, size, units = 2, 11, 5, 3
    recurrent = layer(units, return_sequences=sequences)
    assert flops(recurrent(values(videos, frames, size))) == frames * 2 * videos * (size + units) * gates * units


@pytest.mark.parametrize("start, step, rounds", [(0, 1, 9), (2, 3, 3)])
def test_a_loop_is_counted_as_often_as_it_runs(start, step, rounds):
    square = values(4, 4)
    _, result = tf.while_loop(lambda i, x: i < 9, lambda i, x: (i + step, x @ square), (start, values(2, 4)))
    assert flops(result) == rounds * 2 * 2 * 4 * 4


def test_a_loop_within_a_loop():
    square = values(4, 4)

    def outer(i, x):
        return i + 1, tf.while_loop(lambda j, _: j < 5, lambda j, y: (j + 1, y @ square), (0, x))[1]

    assert flops(tf.while_loop(lambda i, _: i < 3, outer, (0, values(2, 4)))[1]) == 3 * 5 * 2 * 2 * 4 * 4


def test_a_loop_of_unknown_length_is_refused():
    def half(x):
        return (x @ values(4, 4) / 2,)

    result = tf.while_loop(lambda x: tf.reduce_sum(x) > 1, half, (values(2, 4),))[0]
    with pytest.raises(ValueError, match=r"while.*how often it runs is not in the graph"):
        flops(result)


def test_of_branches_the_most_expensive_one_counts_and_calls_are_followed():
    rows, square = values(2, 4), values(4, 4)
    twice = tf.function(lambda x: x @ square @ square)
    result = tf.cond(values(dtype="bool"), lambda: rows @ square, lambda: twice(rows))
    assert flops(result) == 2 * (2 * 2 * 4 * 4)
    assert flops(tf.switch_case(values(dtype="int32"), [lambda: rows, lambda: rows @ square])) == 2 * 2 * 4 * 4


# ------------------------------------------------------------------------------------------------------------- memory


def test_a_result_is_there_until_its_last_reader():
    first = values(10)  # 40 bytes
    second = tf.exp(first)
    third = tf.exp(second)  # the first one is gone: two at a time
    assert memory(third) == 80
    assert memory(third + first) == 120
    assert memory(tf.concat([third, third], 0)) == 120, "one input, and a result twice as long"


def test_views_take_nothing_and_keep_what_they_show():
    rows = values(10)
    view = tf.stop_gradient(tf.expand_dims(tf.reshape(tf.identity(rows), (2, 5)), 0))
    assert memory(view) == 40
    exponentials = tf.exp(tf.exp(tf.exp(rows)))
    assert memory(exponentials) == 80
    assert memory(exponentials + tf.reshape(view, (10,))) == 120


def test_types_have_their_sizes():
    assert memory(tf.cast(values(10, dtype="uint8"), "float16")) == 10 + 20


def training_step(videos: int) -> list:
    frames = values(videos, 4)
    inner, outer = tf.Variable(tf.zeros((4, 8))), tf.Variable(tf.zeros((8, 2)))
    loss = tf.reduce_sum(tf.nn.relu(frames @ inner) @ outer)
    return [loss, *tf.gradients(loss, [inner, outer])]


def test_forward_and_backward_through_two_layers():
    # When the gradient of the product before ReLU is made there are, each of 8 floats: that gradient, the one after
    # ReLU, and ReLU's result, which says where it is; and the 4 floats of the frames, for the gradient of the weights.
    added = memory(*training_step(20)) - memory(*training_step(10))
    assert added == 10 * 4 * (8 + 8 + 8 + 4)


def test_a_loop_keeps_its_lists_and_one_round():
    def steps(videos):
        square = tf.Variable(tf.zeros((8, 8)))
        states = tf.TensorArray("float32", size=5, element_shape=(videos, 8))

        def step(i, state, states):
            state = tf.nn.relu(state @ square)
            return i + 1, state, states.write(i, state)

        return tf.while_loop(lambda i, *_: i < 5, step, (0, values(videos, 8), states))

    _, last, states = steps(1000)
    # The state before and after a round, the product within it, and the list of five.
    assert memory(last) == pytest.approx(1000 * 4 * 8 * (2 + 1 + 5), rel=1e-3)
    assert memory(states.stack()) == pytest.approx(1000 * 4 * 8 * (5 + 5), rel=1e-3)


def test_a_recurrent_layer_keeps_every_frame_for_its_gradient():
    def added(frames):
        def step(videos):
            layer = keras.layers.LSTM(64)
            loss = tf.reduce_sum(layer(values(videos, frames, 2)))
            return memory(loss, *tf.gradients(loss, [weight.value for weight in layer.trainable_weights]))

        return (step(2000) - step(1000)) / 1000

    # Four gates, the state within and its tanh, and the output: what a frame adds, beside its 2 values.
    kept = (added(60) - added(30)) / 30
    assert 4 * 7 * 64 <= kept <= 4 * (9 * 64 + 4 * 2)


def test_a_size_that_is_not_in_the_graph_is_refused():
    with pytest.raises(ValueError, match=r"Where.*no static shape"):
        memory(tf.where(values(5) > 0))


def test_what_is_compiled_as_one_keeps_nothing_inside():
    def chain(given):
        return tf.exp(tf.exp(given) + 1) * 2

    given = values(3, 5)
    apart, as_one = memory(tf.function(chain)(given)), memory(tf.function(chain, jit_compile=True)(given))
    assert as_one == 2 * 4 * 3 * 5, "what goes in and what comes out"
    assert apart > as_one
