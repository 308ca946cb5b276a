"""Rowcall's tests: one module or folder for each of src/rowcall, and what they share."""
