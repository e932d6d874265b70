"""Tables in files, CSV and XLSX, read one row at a time: memory does not grow with the file."""
