"""A trained network in other forms: made, measured by their own runtimes, judged and explained."""
