"""Tables that people bring, whatever the format: columns of cells that are equal where their values are."""
