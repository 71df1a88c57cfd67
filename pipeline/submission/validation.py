"""Check whether the challenge accepts a file: every line, and the ids of all lines."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.config.wording import counted, listed
from pipeline.submission.lines import NUMBER, SUBMIT, SubmissionFault, short
from pipeline.submission.scanning import SubmissionBlock, scan_submission

CHALLENGE_CLASSES = 3862
FAULT_LIMIT = 100
"""The most faults that `check_submission` lists; it counts further ones."""
_DATE = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|\d{1,4}-[A-Z][a-z]{2}|[A-Z][a-z]{2}-\d{1,4}", re.ASCII)


def check_submission(
    path: Path, ids: Iterable[str] | None = None, num_classes: int = CHALLENGE_CLASSES, top_k: int = 20
) -> list[SubmissionFault]:
    """Return the faults of a file by line; an empty list if it is valid.

    Args:
        path: the file, gzipped where it ends in `.gz`.
        ids: the ids that it must hold, each once, compared byte for byte; None compares them with nothing.
        num_classes: labels are below it.
        top_k: pairs that a line may hold.
    Returns:
        The first `FAULT_LIMIT` faults, one for all missing ids, and one that says how many more there are.
    """
    expected = None if ids is None else dict.fromkeys(ids)
    seen: dict[str, int] = {}  # id -> line
    unknown: dict[SubmissionFault, str] = {}
    kept: list[SubmissionFault] = []
    count, last_line = 0, 1
    for block in scan_submission(path, num_classes, top_k):
        faults, names = block.faults, set(block.ids)
        fresh = len(names) == len(block.ids) and "" not in names and seen.keys().isdisjoint(names)
        if fresh and (expected is None or expected.keys() >= names):
            seen.update(zip(block.ids, range(block.first, block.first + len(block.ids))))
        else:
            found = dict(_id_faults(block, seen, expected))
            unknown |= {fault: name for fault, name in found.items() if name and len(unknown) < FAULT_LIMIT}
            faults = sorted(faults + list(found), key=lambda fault: fault.line)
        kept += faults[: FAULT_LIMIT - len(kept)]
        count += len(faults)
        last_line = max(last_line, block.first + len(block.ids) - 1)
    missing = [] if expected is None else [name for name in expected if name not in seen]
    forms = {_spreadsheet_form(name): name for name in missing} if unknown else {}
    kept = [_explain(fault, unknown[fault], forms) if fault in unknown else fault for fault in kept]
    more = count - len(kept)
    if missing:
        some = listed([*map(repr, missing)])
        kept.append(SubmissionFault(last_line, "VideoId", f"ids missing from the file: {len(missing)}: {some}", SUBMIT))
    if not seen and not kept:
        kept.append(SubmissionFault(1, "file", "no videos follow the header", SUBMIT))
    if more:
        kept.append(beyond_limit(kept, more))
    return kept


def beyond_limit(kept: list[SubmissionFault], more: int) -> SubmissionFault:
    """Return the fault that counts those beyond the ones that were kept."""
    reason = f"{counted(more, 'more fault')} after the first {FAULT_LIMIT}"
    return SubmissionFault(kept[-1].line, "file", reason, "correct those first")


def _id_faults(
    block: SubmissionBlock, seen: dict[str, int], expected: dict[str, None] | None
) -> Iterator[tuple[SubmissionFault, str]]:
    """Yield ids that occur twice, with "", and unknown ids, with the id; add all ids to `seen`."""
    for line, name in enumerate(block.ids, block.first):
        if not name:
            continue
        if name in seen:
            reason = f"id {short(name)} is on line {seen[name]} already"
            yield SubmissionFault(line, "VideoId", reason, "keep one line for each video"), ""
            continue
        seen[name] = line
        if expected is not None and name not in expected:
            yield (
                SubmissionFault(line, "VideoId", f"unknown id {short(name)}", "predict the split that is asked for"),
                name,
            )


def _spreadsheet_form(name: str) -> str:
    """Return roughly what a spreadsheet turns an id into, to recognize the id by."""
    if NUMBER.fullmatch(name):
        return f"{float(name):.5e}"
    if name.lower() in ("true", "false"):
        return name.upper()
    return "#NAME?" if name.startswith(("-", "+", "=", "@")) else name


def _explain(fault: SubmissionFault, name: str, missing: dict[str, str]) -> SubmissionFault:
    """Explain an unknown id that a spreadsheet made of a missing one; `missing` is by `_spreadsheet_form`."""
    remedy = f"{SUBMIT} and do not open it in a spreadsheet"
    if (original := missing.get(_spreadsheet_form(name))) is not None:
        reason = f"{fault.reason}, while {original!r} is missing: a spreadsheet rewrote it"
        return replace(fault, reason=reason, remedy=remedy)
    if _DATE.fullmatch(name):
        return replace(fault, reason=f"{fault.reason}, which looks like a date that a spreadsheet made", remedy=remedy)
    return fault
