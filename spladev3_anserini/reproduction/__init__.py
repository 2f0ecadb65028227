"""A recipe on a collection: runs its stages, compares its values, reports and exports them."""
