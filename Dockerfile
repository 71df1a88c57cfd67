# syntax=docker/dockerfile:1
# CUDA's libraries come with the Python packages of the `tensorflow-gpu` extra; the base adds the driver's interface.
#
#   docker build -t learnable-pooling .
#   docker run --gpus all -v "$PWD/workspace:/workspace" learnable-pooling --preset demo
FROM nvidia/cuda:12.9.1-base-ubuntu24.04

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 pipeline && mkdir -p /app /workspace && chown pipeline /app /workspace
USER pipeline
WORKDIR /app

# The dependencies change less often than the code: they are a layer of their own.
COPY --chown=pipeline pyproject.toml uv.lock README.md LICENSE ./
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir uv==0.13.9 \
    && .venv/bin/uv sync --locked --inexact --compile-bytecode --no-cache --extra tensorflow-gpu

COPY --chown=pipeline . .

# What the stages write lives in a volume, whatever the image.
ENV PIPELINE_DATA=/workspace/data PIPELINE_RUNS=/workspace/runs PIPELINE_SUBMISSIONS=/workspace/submissions \
    PIPELINE_REPORTS=/workspace/reports
VOLUME /workspace
ENTRYPOINT ["./run_all.sh"]
