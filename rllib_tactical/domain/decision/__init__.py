"""From votes to an order: aggregation, sizes, costs, risk, overrides."""
