"""One number a sample and the evidence behind it; a method a file."""
