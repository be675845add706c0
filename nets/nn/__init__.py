"""Build and train networks: layers, losses, optimisers, initialisation, state dicts."""
