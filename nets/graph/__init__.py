"""Network graphs: nodes and arrays (`ir`), and shapes, dtypes and constants (`spec`)."""
