"""Network graphs: nodes and the arrays between them (`ir`), and what is known of these (`spec`)."""
