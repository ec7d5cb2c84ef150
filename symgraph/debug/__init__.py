"""Looking inside: printed graphs, drawings, reports, the reference page."""
