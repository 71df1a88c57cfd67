"""Which form a sample's cells have, and which cells are of none."""

from pathlib import Path

import pytest

from pipeline.config.errors import StageError
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_forms import read_cells

PATH = Path("sample.csv")
CLASSES = Classes(["Dog", "Train, horn", "Robin", "Great tit"])


@pytest.mark.parametrize(
    ("columns", "cells", "form", "by_name", "between", "most", "numbers"),
    [
        (["Robin", "Dog"], ["0.5", "0"], "columns", True, "", 0, (2, 0)),
        (["3", "0", "1"], ["", "", ""], "columns", False, "", 0, (3, 0, 1)),
        (["Robin"], ["0.5"], "columns", True, "", 0, (2,)),
        (["labels"], ["3 0", "", " 1 2 0 "], "labels", False, " ", 3, ()),
        (["labels"], ["3, 0"], "labels", False, ", ", 2, ()),
        (["labels"], ["Dog;Train, horn", "Robin"], "labels", True, ";", 2, ()),
        (["labels"], ["Train, horn", "Robin"], "labels", True, "", 1, ()),
        (["labels"], ["3 0 2 1"], "labels", False, " ", 4, ()),  # classes, and no confidences of 0 and 1
        (["pairs"], ["3 0 2 1"], "pairs", False, " ", 2, ()),
        (["labels"], ["3 0 2 0"], "pairs", False, " ", 2, ()),  # no class is there twice
        (["labels"], ["3 0 2 1", "3 0 2 1e-3"], "pairs", False, " ", 2, ()),
        (["labels"], ["Great tit;0.5;Train, horn;0"], "pairs", True, ";", 2, ()),
    ],
)
def test_the_form_is_found(columns, cells, form, by_name, between, most, numbers):
    found = read_cells(PATH, columns, cells, CLASSES)
    assert (found.form, found.by_name, found.between, found.most, found.numbers) == (
        form,
        by_name,
        between,
        most,
        numbers,
    )
    assert found.describe().endswith("named" if by_name else "numbered")


@pytest.mark.parametrize(
    ("columns", "cells", "form", "by_name", "between", "most"),
    [
        (["a", "b"], ["0.5", "0"], "columns", True, "", 0),
        (["target"], ["0.5", "0.25"], "columns", True, "", 0),
        (["labels"], ["3|0", "17"], "labels", False, "|", 2),
        (["labels"], ["Train, horn", "Great tit"], "labels", True, "", 1),
        (["labels"], ["x y z, 0.5"], "pairs", True, ", ", 1),
    ],
)
def test_the_form_without_the_classes(columns, cells, form, by_name, between, most):
    found = read_cells(PATH, columns, cells, None)
    assert (found.form, found.by_name, found.between, found.most, found.numbers) == (form, by_name, between, most, ())


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        (
            ["Robin", "Usage", "dog"],
            [],
            r"2 of its 3 columns beside the ids not a class.*: 'Usage', 'dog' \(near: 'Dog'\)",
        ),
        (["Robin", "Dog"], ["0,5"], "confidence '0,5' is not a number, where a column for each class holds prob"),
        (["Robin", "Dog"], ["37"], "confidence '37' is above 1"),
        (["labels"], ["", " "], "column 'labels' is neither a class nor filled.* write an example"),
        (["labels"], ["Dog Cat"], "1 of the 2 labels in its column 'labels' not a class of the dataset: 'Cat'"),
        (["labels"], ["4"], "1 of the 1 label in its column 'labels' not a class of the dataset: '4'"),
        (["labels"], ["Dog, Robin"], "', ' stands between labels, and class 'Train, horn' has it in its name"),
        (["target"], ["0.5"], "1 of its 1 column beside the ids not a class of the dataset: 'target'"),
    ],
)
def test_what_is_of_no_form_is_refused(columns, cells, message):
    with pytest.raises(StageError, match=rf"sample\.csv: {message}"):
        read_cells(PATH, columns, cells, CLASSES)


def test_how_many_labels_a_row_has():
    several = read_cells(PATH, ["labels"], ["3 0", "1"], CLASSES)
    assert [several.count(PATH, asked) for asked in (None, 1, 5)] == [2, 1, 5]
    single = read_cells(PATH, ["labels"], ["Dog"], CLASSES)
    assert [single.count(PATH, asked) for asked in (None, 1)] == [1, 1]
    with pytest.raises(StageError, match=r"--submission\.top-k 2: sample\.csv has one label a row"):
        single.count(PATH, 2)
