"""Pure trading rules on NumPy arrays: features, votes, decisions, orders, risk, fills, rewards."""
