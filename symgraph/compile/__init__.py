"""From a graph to a callable: specialisation, the list of passes, functions, shared state."""
