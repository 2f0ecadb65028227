"""A recipe on a collection: run it stage by stage, judge it, report it, hand it on."""
