"""Parse the wire format of Example and SequenceExample: messages, maps, and the values of a feature.

The encoding is that of Protocol Buffers, https://protobuf.dev/programming-guides/encoding/; the messages are defined in
tensorflow/core/example. A field is a tag (number << 3 | wire type) and a value; a message is a sequence of fields. What
TensorFlow's own parsers (tensorflow/core/util/example_proto_fast_parsing.cc) refuse is refused here, even if protobuf
allows it: unknown fields may stand beside the sections of a record, but not within them; a map's entry is a key and a
value; a feature is one list; a list of numbers is either packed or not.

    SequenceExample { context = 1: Features; feature_lists = 2: FeatureLists }    Example { features = 1: Features }
    Features, FeatureLists: map<string, Feature or FeatureList> = 1               FeatureList { repeated Feature = 1 }
    Feature { one of: bytes_list = 1; float_list = 2; int64_list = 3 }            each list { repeated value = 1 }
"""

from collections.abc import Iterator

Buffer = bytes | memoryview
Span = tuple[int, int]
"""The start and stop of a message within the payload."""

FIRST, SECOND = 0x0A, 0x12  # tags of fields 1 and 2 that hold bytes or a message
BYTES, FLOATS, INTEGERS = 0x0A, 0x12, 0x1A  # the kinds of a Feature, as the tag of its list
ONE_INTEGER, ONE_FLOAT = 0x08, 0x0D  # a value of a list that is not packed
KINDS = {0: "an empty feature", BYTES: "a bytes_list", FLOATS: "a float_list", INTEGERS: "an int64_list"}
WHATS = {BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}
_SINGLE = {FLOATS: ONE_FLOAT, INTEGERS: ONE_INTEGER}
_DAMAGED = "the record is damaged"


class ParseError(ValueError):
    """A payload is not as the dataset declares; the message gives the reason and does not name the file."""


def read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """Return the unsigned number at a position, and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ParseError(f"a number before byte {end} does not end; {_DAMAGED}")


def iterate_fields(data: Buffer, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield each field of the message data[position:end]: its tag, and the start and stop of its value."""
    while position < end:
        tag = data[position]
        position += 1
        if tag > 127:
            tag, position = read_varint(data, position - 1, end)
            if tag < 128:
                raise ParseError(f"the tag before byte {position} is longer than need be, which readers disagree on")
        wire = tag & 7
        if wire == 2:
            size = data[position] if position < end else 128
            position += 1
            if size > 127:  # sizes below 16 KiB take two bytes: worth a shortcut
                more = data[position] if position < end else 128
                if more > 127:
                    size, position = read_varint(data, position - 1, end)
                else:
                    size += (more << 7) - 128
                    position += 1
            stop = position + size
        elif wire == 0:
            stop = read_varint(data, position, end)[1]
        elif wire in (1, 5):
            stop = position + (8 if wire == 1 else 4)
        else:
            raise ParseError(f"wire type {wire} before byte {position} occurs in no record; {_DAMAGED}")
        if stop > end or not 8 <= tag <= 0xFFFFFFFF:
            raise ParseError(f"a field with tag {tag} runs from byte {position} to {stop}, in a message up to {end}")
        yield tag, position, stop
        position = stop


def values_of_message(data: Buffer, message: Span, expected: int) -> list[Span]:
    """Return the values of all fields of a message; raises ParseError if one has another tag than `expected`."""
    found = []
    for tag, start, stop in iterate_fields(data, *message):
        if tag != expected:
            raise ParseError(f"a field with tag {tag} before byte {stop}, where it does not belong; {_DAMAGED}")
        found.append((start, stop))
    return found


def messages_by_key(data: Buffer) -> tuple[dict[str, Span], dict[str, Span]]:
    """Return the maps in field 1 (context, or an Example's features) and field 2 (feature lists).

    Of equal keys the last one counts.
    """
    context: dict[str, Span] = {}
    lists: dict[str, Span] = {}
    for tag, start, stop in iterate_fields(data, 0, len(data)):
        if tag not in (FIRST, SECOND):
            continue
        found = context if tag == FIRST else lists
        for entry in values_of_message(data, (start, stop), FIRST):
            parts = [*iterate_fields(data, *entry)]
            if len(parts) != 2 or parts[0][0] != FIRST or parts[1][0] != SECOND:
                raise ParseError(f"an entry before byte {entry[1]} is no key and value; {_DAMAGED}")
            (_, *key), (_, value, stop) = parts
            try:
                found[str(data[slice(*key)], "utf-8")] = value, stop
            except UnicodeDecodeError:
                raise ParseError(f"the key {bytes(data[slice(*key)])!r} is not UTF-8; {_DAMAGED}") from None
    return context, lists


def feature_values(data: Buffer, feature: Span | None) -> tuple[int, list[Span]]:
    """Return a Feature's kind (0 if it is empty), and where its values lie; packed values are one span."""
    lists = [*iterate_fields(data, *feature)] if feature else []
    if feature is None or not lists:
        return 0, []
    kind, start, stop = lists[0]
    place = start, stop
    if len(lists) > 1 or kind not in WHATS:
        raise ParseError(f"a feature before byte {feature[1]} is not one list of values; {_DAMAGED}")
    if kind == BYTES:
        return kind, values_of_message(data, place, FIRST)
    single = _SINGLE[kind]
    packed = next(iterate_fields(data, *place), (FIRST,))[0] != single
    values = values_of_message(data, place, FIRST if packed else single)
    if packed and len(values) > 1:
        raise ParseError(f"a list before byte {place[1]} has {len(values)} packed parts, which no reader joins")
    if kind == FLOATS and any((stop - start) % 4 for start, stop in values):
        raise ParseError(f"packed floats end within a float; {_DAMAGED}")
    return kind, values
