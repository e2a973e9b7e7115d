"""What methods share of how a step goes on."""
