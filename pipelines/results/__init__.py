"""From records to statistics, the recommendation and the report."""
