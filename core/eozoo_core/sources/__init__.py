"""What ``infer`` may be pointed at, beside files: products of several files, catalogues, searches."""
