"""Our SKUs and the listings that show them on channels."""
