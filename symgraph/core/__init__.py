"""The expression graph: dtypes, types, hash-consed nodes, the op contract, errors, settings."""
