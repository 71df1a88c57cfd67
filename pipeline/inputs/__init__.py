"""Turn bytes into arrays: TFRecord files, their records, the index, and batches of frames."""
