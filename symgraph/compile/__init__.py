"""From a graph to a callable: specialisation, the list of passes, plans, functions, shared state."""
