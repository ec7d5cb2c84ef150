"""The index-level IR: values as functions of an index, the nests that store them.

A tensor is a function of an index; an `Expr` is the value of that function at a symbolic index.
Fusing a producer into its consumer is calling its function, a view only changes the index, and
equal expressions are one object (each `Builder` interns what it makes).

    value = const | axis | affine | load | reduce | unary | binary | compare | select | cast ...
    nest  = axes, stores (buffer, address, value)

`expr` has the values, `interned` their builder, `statements` nests, loops and library calls.
"""
