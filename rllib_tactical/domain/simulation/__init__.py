"""Market history, accounts, fills, rewards and episodes."""
