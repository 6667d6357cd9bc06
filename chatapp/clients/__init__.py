"""One module per vendor: explicit address and timeout, our types out, two kinds of error."""
