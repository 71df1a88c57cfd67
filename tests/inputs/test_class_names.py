"""Names of classes: from the files that there really are, from awkward ones, and from none."""

import pytest

from pipeline.config.errors import StageError
from pipeline.inputs.class_names import FILES, find_vocabulary, read_class_names, stored_class_names, unnamed


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "classes", "known"),
    [
        ("vocabulary.csv", 3862, {0: "Game", 2: "Vehicle", 120: "class 120", 3861: "Gamblerz"}),
        ("audioset_classes.csv", 527, {0: "Speech", 1: "Male speech, man speaking"}),
    ],
)
def test_the_vocabularies_that_are_published(shared_data, file, classes, known):
    found = read_class_names(shared_data / file, classes)
    assert len(found) == len(set(found)) == classes and all(found)
    assert {label: found[label] for label in known} == known


@pytest.mark.parametrize("file", FILES)
def test_what_download_has_put_into_a_folder_is_found(tmp_path, file):
    assert find_vocabulary(tmp_path) is None
    text = '\ufeffindex,mid,display_name\n1,/m/1,"Tom, & ""Jerry""\n"\n0,/m/0,\n'
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert find_vocabulary(tmp_path) == tmp_path / file
    assert read_class_names(tmp_path / file, 2) == ["class 0", 'Tom, & "Jerry"'] and unnamed(1) == ["class 0"]


def test_an_index_gives_the_names_that_it_holds(tmp_path):
    assert stored_class_names(tmp_path, 2) is None
    (tmp_path / "dataset.json").write_text('{"class_names": null}')
    assert stored_class_names(tmp_path, 2) is None
    (tmp_path / "dataset.json").write_text('{"class_names": ["a", "b"]}')
    assert stored_class_names(tmp_path, 2) == ["a", "b"] and stored_class_names(tmp_path, 3) is None


def test_a_name_that_two_classes_have_tells_them_apart(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("Index,Name\n0,Bow\n1, \n2,Bow\n", encoding="utf-8")
    assert read_class_names(path, 3) == ["Bow (0)", "class 1", "Bow (2)"]


@pytest.mark.parametrize(
    "text",
    [
        "label_id,label_name\n1,Music\n0,Speech\n",
        "index,mid,display_name\r\n0,/m/09x0r,Speech\r\n1,/m/04rlf,Music",
        "Index,TrainVideoCount,KnowledgeGraphId,Name\r0,788288,/m/03bt1gh,Speech\r1,539945,/m/01mw1,Music\r",
        "index;label\n0;Speech\n1;Music\n;\n",
        "id\tname\n0\tSpeech\n1\tMusic\n",
        "label,name\n0,Speech\n1,Music\n",
        "label,class\n0,Speech\n1,Music\n",
        "Class ID,Class-Name\n0,Speech\n1,Music\n",
    ],
)
def test_columns_are_told_by_the_names_that_people_give_them(tmp_path, text):
    path = tmp_path / "names.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read_class_names(path, 2) == ["Speech", "Music"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,word\n0,Speech\n", r"must have a column with the number .*; its first line is 'number,word'"),
        ("label\n0\n", "must have a column"),
        ("", "must have a column"),
        ("index,name\n0,Speech\n7,Music\n", "line 3: the class must be a number below 2"),
        ("index,name\nzero,Speech\n", "line 2: the class must be a number"),
        ("index,name\n0\n", "line 2"),
        ("index,name\n1,Speech\n", "names 1 of 2 classes; 0 not in it: every class needs a line"),
        ("index,name\n", "names 0 of 2 classes; 0, 1 not in it"),
        ("index,name\n0,\udcff\n", "line 2: byte 0xff is not UTF-8"),
    ],
)
def test_what_is_no_vocabulary_is_refused_by_file_and_line(tmp_path, text, message):
    path = tmp_path / "names.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StageError, match=message) as error:
        read_class_names(path, 2)
    assert "names.csv" in str(error.value)


def test_a_file_that_is_not_there_is_no_folder_without_names(tmp_path):
    with pytest.raises(StageError, match=r"missing\.csv cannot be read"):
        read_class_names(tmp_path / "missing.csv", 2)
