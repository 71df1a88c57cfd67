"""Compiled loops work where nothing can be kept on disk, too."""

from numba.core import caching

from pipeline.runtime.compiled import compile_numba


def triangle(number):
    total = 0
    for each in range(number + 1):
        total += each
    return total


def test_machine_code_is_kept_for_later_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path))
    assert compile_numba(triangle)(100) == 5050
    assert list(tmp_path.rglob("*.nbc"))


def test_without_a_folder_to_keep_it_in(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert compile_numba(triangle)(100) == 5050
