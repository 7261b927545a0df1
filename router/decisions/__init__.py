"""One routing request, from its facts to its answer: in time, whatever is broken."""
