"""The checks of the lint, one module per subject. Each takes the tree and yields violations."""
