"""Bytes to records, and back: TFRecords, the wire format, what a record must hold."""
