"""The index-level IR: values as functions of an index, the nests that store them."""
