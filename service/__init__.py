"""The imperative shell: everything that does I/O."""
