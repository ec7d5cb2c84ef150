"""The demo: `python -m symgraph_nn.demo` trains two nets on real data and shows the compiler."""
