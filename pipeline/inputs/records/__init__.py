"""Turn bytes into records and back: TFRecord files, the wire format, and what a record must hold."""
