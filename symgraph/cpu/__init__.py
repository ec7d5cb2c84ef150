"""The CPU back end: native code generation, loading, the call path, memory and threads."""
