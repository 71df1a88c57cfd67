"""The experiments that come with the pipeline, one a file."""
