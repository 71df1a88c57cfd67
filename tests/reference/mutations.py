"""Records that nobody wrote, drawn from a generator: odd but valid encodings, wrong structure, damaged bytes."""

from typing import NamedTuple

import numpy as np
from reference.records import FRAME, VIDEO, frame_record, video_record

from pipeline.config import DatasetConfig
from pipeline.inputs.records.encoding import encode_varint

Random = np.random.Generator


class Field(NamedTuple):
    """A field of a message: its tag, and a nested message, bytes, or a number."""

    tag: int
    value: "list[Field] | bytes | int"


def payloads(case: int, count: int) -> tuple[DatasetConfig, list[bytes]]:
    """A case's dataset, of frames or of videos by turns, and its records: half damaged, half misshapen."""
    dataset, random = (FRAME, VIDEO)[case % 2], np.random.default_rng(case)
    originals = [frame_record(n) for n in (1, 3, 12)] if dataset is FRAME else [video_record()]
    return dataset, [
        misshapen(dataset, random) if number % 2 else damaged(originals[number // 2 % len(originals)], random)
        for number in range(count)
    ]


def damaged(payload: bytes, random: Random) -> bytes:
    """Bytes changed, flipped, cut out, doubled or cut off, without regard to what they mean."""
    data = bytearray(payload)
    for _ in range(random.integers(1, 3)):
        # half of the places lie near the start, where the structure is, and not in the values
        place = int(random.integers(0, len(data) if random.random() < 0.5 else min(60, len(data))))
        match random.integers(0, 12):
            case 0:
                del data[place : place + random.integers(1, 9)]
            case 1:
                data[place:place] = data[: random.integers(1, 40)]
            case 2:
                data = data[: place + 1]
            case 3 | 4 | 5 | 6:
                data[place] = random.integers(0, 256)
            case _:
                data[place] ^= 1 << random.integers(0, 8)
    return bytes(data)


def misshapen(dataset: DatasetConfig, random: Random) -> bytes:
    """A record whose fields were moved, doubled, left out, changed in type, or joined by unknown ones, or were not."""
    record = whole(dataset, random)
    for _ in range(random.integers(0, 3)):
        messages = list(_messages(record))
        _change(messages[random.integers(len(messages))], random)
    return encoded(record, random, longer=random.random() < 0.2, wrong=random.random() < 0.05)


def whole(dataset: DatasetConfig, random: Random) -> list[Field]:
    """A good record, its labels and floats packed or not."""
    labels = random.integers(0, dataset.num_classes, random.integers(0, 5)).tolist()
    entries = [
        _entry("id", [Field(0x0A, [Field(0x0A, b"aDoE")])]),
        _entry("labels", [Field(0x1A, _numbers(labels, random))]),
    ]
    entries.append(_entry("start", [Field(0x12, [Field(0x0A, np.float32(3).tobytes())])]))
    if dataset.level == "video":
        for feature in dataset.features:
            values = random.normal(size=feature.size).astype(np.float32)
            entries.append(_entry(feature.key, [Field(0x12, _floats(values, random))]))
        return [Field(0x0A, entries)]
    count = int(random.integers(1, 6))
    lists = []
    for feature in dataset.features:
        rows = [[Field(0x0A, [Field(0x0A, random.bytes(feature.size))])] for _ in range(count)]
        lists.append(_entry(feature.key, [Field(0x0A, row) for row in rows]))
    return [Field(0x0A, entries), Field(0x12, lists)]


def encoded(message: list[Field], random: Random, longer: bool = False, wrong: bool = False) -> bytes:
    """The bytes of a message; `longer` numbers than need be, `wrong` lengths, some of them huge."""
    data = b""
    for tag, value in message:
        data += _number(tag, random, longer)
        if isinstance(value, int):
            data += _number(value, random, longer)
            continue
        inner = value if isinstance(value, bytes) else encoded(value, random, longer, wrong)
        if tag & 7 == 2:
            size = len(inner)
            if wrong and random.random() < 0.1:
                size = int(random.choice([0, size + 1, max(0, size - 1), 1 << 28, 1 << 31, (1 << 32) - 1, 1 << 62]))
            data += _number(size, random, longer)
        data += inner
    return data


def _change(message: list[Field], random: Random) -> None:
    place = int(random.integers(len(message))) if message else 0
    match random.integers(0, 12):
        case 0:
            message[:] = [message[i] for i in random.permutation(len(message))]
        case 1 if message:
            message.insert(int(random.integers(len(message) + 1)), message[place])
        case 2 if message:
            del message[place]
        case 3 if message:  # another wire type
            message[place] = Field(message[place].tag & ~7 | int(random.integers(8)), message[place].value)
        case 4 if message:  # another number
            message[place] = Field(message[place].tag & 7 | int(random.integers(0, 5)) << 3, message[place].value)
        case 5 if message:  # nested garbage
            message[place] = Field(message[place].tag, random.bytes(int(random.integers(0, 12))))
        case 6 if message and isinstance(message[place].value, bytes):
            value = message[place].value
            longer = value + b"\0" * int(random.integers(1, 9))
            message[place] = Field(message[place].tag, value[:-1] if random.random() < 0.5 else longer)
        case 7:  # labels that are none, and numbers beyond 64 bits
            number = int(random.choice([1 << 31, 1 << 62, 3862])) * 4 - int(random.integers(2)) * 5
            message.insert(place, Field(0x08, number) if random.random() < 0.5 else Field(0x08, b"\xff" * 10 + b"\x01"))
        case _:
            message.insert(place, _unknown(random))


def _unknown(random: Random) -> Field:
    number = int(random.choice([2, 3, 4, 15, 16, 1000, (1 << 29) - 1])) << 3
    match random.integers(0, 5):
        case 0:
            return Field(number, int(random.integers(0, 1 << 40)))
        case 1:
            return Field(number | 1, random.bytes(8))
        case 2:
            return Field(number | 5, random.bytes(4))
        case 3:
            return Field(number | 3, b"\x08\x01" + encode_varint(number | 4))  # a group
        case _:
            return Field(number | 2, random.bytes(int(random.integers(0, 9))))


def _messages(message: list[Field]):
    yield message
    for field in message:
        if isinstance(field.value, list):
            yield from _messages(field.value)


def _entry(key: str, value: list[Field]) -> Field:
    return Field(0x0A, [Field(0x0A, key.encode()), Field(0x12, value)])


def _numbers(values: list[int], random: Random) -> list[Field]:
    packed = Field(0x0A, b"".join(map(encode_varint, values)))
    single = [Field(0x08, value) for value in values]
    return [[packed], single, [packed, *single], [*single, packed], [packed, packed], []][random.choice(6, p=_CHANCES)]


def _floats(values: np.ndarray, random: Random) -> list[Field]:
    packed = Field(0x0A, values.tobytes())
    single = [Field(0x0D, value.tobytes()) for value in values]
    half = len(values) // 2
    parts = [Field(0x0A, values[:half].tobytes()), Field(0x0A, values[half:].tobytes())]
    mixed = [parts[0], *single[half:]], [*single[:half], parts[1]]
    return [[packed], single, parts, *mixed, []][random.choice(6, p=_CHANCES)]


_CHANCES = (0.6, 0.3, 0.03, 0.03, 0.02, 0.02)  # of the ways to write a list of numbers: most are packed


def _number(value: int, random: Random, longer: bool) -> bytes:
    data = encode_varint(value)
    if longer and random.random() < 0.2 and len(data) < 4:
        data = data[:-1] + bytes([data[-1] | 128]) + b"\x80" * int(random.integers(0, 4 - len(data))) + b"\0"
    return data
