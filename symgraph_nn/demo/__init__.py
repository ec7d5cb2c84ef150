"""The demo: `python -m symgraph_nn.demo` trains two networks on real data and shows the compiler."""
