"""A file like a sample, cell by cell, as `csv` writes it."""

import csv
import io

from fixtures.samples import Case


def plainly(case: Case, top_k: int | None = None, thresholds: list[float] | None = None) -> bytes:
    ids, labels, scores = case.predictions
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, case.columns, delimiter=case.separator, lineterminator=case.line_end)
    writer.writeheader()
    for video in case.asked:
        row = ids.index(video)
        both = list(zip(labels[row].tolist(), scores[row].tolist()))
        said = [(label, score) for label, score in both if thresholds is None or score >= thresholds[label]]
        if not said and case.form != "columns" and all(case.sizes):  # no row of the sample is empty
            said = both[:1]
        pairs = [(case.words[label], f"{score:g}") for label, score in said]
        if thresholds is not None and case.form == "columns":
            pairs = [(word, "1") for word, _ in pairs]
        cells = {"id": video}
        if case.form == "columns":
            cells |= {column: dict(pairs).get(column, "0") for column in case.columns if column != "id"}
        else:
            pairs = pairs[: top_k or case.most]
            tokens = (
                [token for pair in pairs for token in pair] if case.form == "pairs" else [name for name, _ in pairs]
            )
            cells["answer"] = case.between.join(tokens)
        writer.writerow(cells)
    return text.getvalue().encode()
