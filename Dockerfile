# syntax=docker/dockerfile:1
# CUDA's libraries come with Python packages; the container runtime adds the driver. What runs is tools/entrypoint.sh.
#
#   docker build -t learnable-pooling .
#   docker run --gpus all -v "$PWD/workspace:/workspace" learnable-pooling --preset demo
FROM python:3.13-slim-bookworm

# Another backend: BACKEND=jax, or BACKEND=torch with an empty GPU. Without an NVIDIA GPU: an empty GPU.
ARG BACKEND=tensorflow
ARG GPU=-gpu
WORKDIR /app

# The dependencies change less often than the code: they are a layer of their own.
COPY tools/uv.txt tools/
RUN pip install --no-cache-dir --require-hashes -r tools/uv.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-cache --compile-bytecode --no-install-project --extra "$BACKEND$GPU"
COPY pipeline pipeline
RUN uv sync --locked --no-cache --compile-bytecode --inexact --no-editable --extra "$BACKEND$GPU"
COPY tools/entrypoint.sh tools/

# What the stages write lies in the folder that is bound there; what libraries keep beside it may be lost.
ENV PATH=/app/.venv/bin:$PATH KERAS_BACKEND=$BACKEND HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /workspace
ENTRYPOINT ["/app/tools/entrypoint.sh"]
