"""Great Expectations suites, and what runs and reports them."""
