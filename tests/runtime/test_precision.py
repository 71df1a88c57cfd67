"""The arithmetic a machine is fast in, told from what its processor or its GPU says."""

import os

import pytest

from pipeline.runtime.precision import fast_precision

CPUINFO = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu {} sse2\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"), ("avx512f", "float32")],
)
@pytest.mark.usefixtures("no_gpu")
def test_the_processor_decides(tmp_path, flag, expected):
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flag))
    assert fast_precision(tmp_path / "cpuinfo") == expected


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_a_processor_other_backends_get_float32(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    (tmp_path / "cpuinfo").write_text(CPUINFO.format("avx512_bf16"))
    assert fast_precision(tmp_path / "cpuinfo") == "float32"


@pytest.mark.usefixtures("no_gpu")
def test_a_processor_that_says_nothing_gets_float32(tmp_path):
    assert fast_precision(tmp_path / "missing") == "float32"


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [("9.0", "mixed_bfloat16"), ("7.5", "float32"), ("8.0\n7.0", "float32")],
)
def test_a_gpu_decides_before_the_processor(tmp_path, monkeypatch, answer, expected, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n".replace("\n7.0", "\\n7.0"))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "cpuinfo").write_text(CPUINFO.format("avx512_bf16" if expected == "float32" else "none"))
    assert fast_precision(tmp_path / "cpuinfo") == expected


def test_a_driver_without_a_gpu_leaves_it_to_the_processor(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "cpuinfo").write_text(CPUINFO.format("avx512_bf16"))
    assert fast_precision(tmp_path / "cpuinfo") == "mixed_bfloat16"
