"""Whether the market and a bundle's decisions are still those that the bundle was made on."""
