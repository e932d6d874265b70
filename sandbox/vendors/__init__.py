"""One package per fake vendor, each built from the vendor's own documents."""
